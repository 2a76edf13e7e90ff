//! Real clients: curl, openssl, HAProxy, our own `latchkey isproxy`, and the registrar's own Python package.

mod curl;
mod haproxy;
mod latchkey;
mod openssl;
mod python;
