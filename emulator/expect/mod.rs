//! Expectations of a project's network, tried: by packets in a lab, and by the model, which knows neither.
//!
//! Both verdicts come from one run. Where they differ, vethlab is wrong, and says so. A thing that is forbidden is
//! tried by every way there is, and counts only if the target's program answers in its own namespace in the same run:
//! otherwise nothing was shown. What happens to a project first (a service is replaced, or down) happens in a world of
//! its own, so that no expectation disturbs another.
//!
//! As a library, for tests:
//!
//! ```
//! # let dir = std::env::temp_dir().join(format!("vethlab-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir).unwrap();
//! # let file = dir.join("compose.yaml");
//! # let file = file.to_str().unwrap();
//! # std::fs::write(file, "
//! # services:
//! #   web: {image: x, ports: ['8080:80'], networks: [front, back]}
//! #   db: {image: x, expose: [5432], networks: [back]}
//! # networks: {front: {}, back: {internal: true}}
//! # ").unwrap();
//! use vethlab::expect::Tested;
//!
//! let shop = Tested::load(file)?;
//! shop.assert("web -> db:5432 allow via back");
//! shop.assert("outside -> web:8080 allow");
//! shop.assert("outside -> db:5432 deny");
//! assert!(shop.check("db -> web:80 deny").unwrap_err().contains("db reaches web:80"));
//! # std::fs::remove_dir_all(dir).unwrap();
//! # Ok::<(), String>(())
//! ```

mod dials;
mod explain;
mod judge;
mod oracle;
mod run;
mod scene;
mod stage;
mod tested;
mod text;

pub use run::{Bundle, Capture, Outcome, Settings, run, run_host};
pub use tested::{LoadError, Tested};
