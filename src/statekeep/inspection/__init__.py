"""Look at what is kept, and at who keeps it: for operators, and for tools made for them."""
