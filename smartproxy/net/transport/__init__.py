"""The data path's transports: TCP that reads much and sends at once, and TLS on it in memory."""
