//! Two layers back to back.
