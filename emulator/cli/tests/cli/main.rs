//! The command line from outside: recorded answers of a real engine, transcripts, a lab that only
//! remembers.

mod fake;
mod json;
mod play;
mod records;
mod transcripts;
