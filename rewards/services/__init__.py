"""What rewards ask outside of themselves: services over HTTP, encoders."""
