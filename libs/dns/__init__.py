"""What the services share about asking the DNS."""
