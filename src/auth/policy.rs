//! Who gets in with what: the table of PROTOCOL section 3 as one pure function.
