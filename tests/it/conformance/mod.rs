//! The conformance cases of Docker's networking that need frames or the whole Lab, and a table that says
//! of every case where it is tested.
//!
//! A case is a script, see [`script`]; its number is the one of the list of cases.

mod compose;
mod links;
mod list;
mod names;
mod reach;
mod script;

/// All cases of this module.
fn here() -> impl Iterator<Item = &'static (u32, &'static str, &'static str)> {
    links::CASES.iter().chain(names::CASES).chain(reach::CASES)
}

/// Plays all cases of a table and tells of all that fail.
fn all(cases: &[(u32, &str, &str)]) {
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|(number, what, script)| {
            let played = std::panic::catch_unwind(|| script::play(*number, script));
            let why = played.err()?;
            let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
            Some(format!("{why}\n    ({what})"))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn interfaces_and_the_way_out() {
    all(links::CASES);
}

#[test]
fn names() {
    all(names::CASES);
}

#[test]
fn who_reaches_whom() {
    all(reach::CASES);
}
