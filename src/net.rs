//! Sockets: listeners per thread, the accept loop and its limits, TLS, draining. Knows no protocol above TLS.
