"""The protocol core held against the text of RFC 5024 and RFC 2204."""
