//! The `onecopy` command: parses arguments, calls the library, prints.
#![forbid(unsafe_code)]
