"""What all services of the chat backend share. It knows no MySQL, and nothing in it depends on a service."""
