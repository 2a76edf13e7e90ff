//! Real clients: curl, openssl, and the registrar's own Python package.

mod curl;
mod openssl;
mod python;
