//! `lint`: what in a project's files will not work, or is open to more than meant, told before
//! anything runs.
//!
//! A [`Rule`] looks at the loaded project alone: no lab is built, no packet sent. What it finds is plain
//! data, a [`Finding`] with the places in the files and a fix. Each rule has a section in
//! `docs/rules.md` with the complaint behind it and an example, see [`explain`]; a comment
//! `# vethlab: allow RULE reason` beside the line, or above it, takes a finding back.
//!
//! ```
//! use vethlab::lint::{Loaded, Options, lint};
//!
//! let text = "services:\n  db:\n    image: postgres:17\n    ports: ['5432:5432']\n";
//! let project = Loaded::from_text(text)?;
//! let report = lint(&[project], &Options::default());
//! assert_eq!(report.findings[0].rule, "publish-data-store");
//! assert_eq!(report.findings[0].places[0].line, 4);
//! # Ok::<(), vethlab::compose::Errors>(())
//! ```

mod allow;
mod allowed;
mod finding;
mod fingerprint;
mod format;
mod known;
mod loaded;
mod page;
mod pools;
mod reach;
mod rule;
mod rules;
mod run;
mod sarif;
#[cfg(test)]
mod tests;
mod view;

pub use finding::{Finding, Level, Report, Spot};
pub use format::{github, text};
pub use loaded::Loaded;
pub use page::{PAGE, explain};
pub use rule::{RULES, Rule, UNUSED_ALLOW, rule};
pub use run::{Options, lint};
pub use sarif::{Sarif, sarif};
