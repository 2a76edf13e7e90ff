//! What an installation begins with: development certificates. Prints nothing; `demo` calls it.

pub mod certificates;
