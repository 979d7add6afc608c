"""Amazon Bedrock AgentCore Memory as a store of records: lanes of events, which are read by their exact names."""
