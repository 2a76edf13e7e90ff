//! Real clients: curl, openssl, our own `latchkey isproxy`, and the registrar's own Python package.

mod curl;
mod latchkey;
mod openssl;
mod python;
