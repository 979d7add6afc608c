"""What reads the data of other packages."""
