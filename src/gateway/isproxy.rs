//! gateway/isproxy
