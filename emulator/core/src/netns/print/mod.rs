//! Printing
