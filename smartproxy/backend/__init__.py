"""Layer 4: configuration, certificates, licences and events: the https API, the store and the site's authority."""
