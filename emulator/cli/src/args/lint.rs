//! The arguments of `vethlab lint`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use vethlab::compose::near;
use vethlab::lint::{Level, RULES, rule};

const EXAMPLES: &str = "\
Examples:
  vethlab lint
      look at every project below this folder
  vethlab lint -f compose.yaml -f compose.prod.yaml
      look at one project of two files
  vethlab lint --together shop/compose.yaml blog/compose.yaml
      look at two projects that run on one host: ports, names and subnets must not meet
  vethlab lint --explain publish-all
      say what a rule is about
  vethlab lint --allow publish-all --level links=warning --fail-on error
      without a rule, with another level of one; only errors fail

A comment takes a finding back, at the end of its line or alone above it:
  # vethlab: allow publish-all it is meant

Exit codes:
  0  nothing at or above --fail-on
  1  findings at or above --fail-on
  2  bad input, with file, line and column";

/// `vethlab lint`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct LintArgs {
    /// Compose files, each a project of its own, vethlab.yaml, or folders with all that is below; this
    /// folder if none
    #[arg(value_name = "COMPOSE", conflicts_with = "file")]
    pub projects: Vec<PathBuf>,
    /// A compose file; later ones are laid over earlier ones
    #[arg(short = 'f', long, value_name = "COMPOSE")]
    pub file: Vec<PathBuf>,
    /// The project's name; the file's own name or its directory's if not given
    #[arg(short = 'p', long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// A file of variables in the place of .env
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<String>,
    /// An active profile; every one is if none is given
    #[arg(long, value_name = "PROFILE")]
    pub profile: Vec<String>,
    /// The projects run on one host
    #[arg(long)]
    pub together: bool,
    /// The machine: its daemon.json, routes, addresses, uplink MTU
    #[arg(long, value_name = "FILE")]
    pub host: Option<PathBuf>,
    /// Only this rule
    #[arg(long, value_name = "RULE", value_parser = rule_id)]
    pub rule: Vec<String>,
    /// Not this rule
    #[arg(long, value_name = "RULE", value_parser = rule_id)]
    pub allow: Vec<String>,
    /// Leave milder findings out, or give a rule another level
    #[arg(long, value_name = "LEVEL|RULE=LEVEL", value_parser = level)]
    pub level: Vec<LevelArg>,
    /// Exit with 1 if there is a finding of this level or a worse one
    #[arg(long, value_name = "LEVEL", default_value = "warning")]
    pub fail_on: Level,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = LintFormat::Text)]
    pub format: LintFormat,
    /// Print the rules
    #[arg(long, conflicts_with_all = ["projects", "file", "explain"])]
    pub list: bool,
    /// Print what a rule is about
    #[arg(long, value_name = "RULE", value_parser = rule_id, conflicts_with_all = ["projects", "file"])]
    pub explain: Option<String>,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    /// For people, with the lines underlined
    Text,
    /// For machines
    Json,
    /// SARIF 2.1.0, for code scanners
    Sarif,
    /// Commands that GitHub shows at the lines of a change
    Github,
}

/// What `--level` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LevelArg {
    /// Milder findings are left out.
    Least(Level),
    /// A rule has this level.
    Of(String, Level),
}

fn rule_id(text: &str) -> Result<String, String> {
    if rule(text).is_some() {
        return Ok(text.to_owned());
    }
    let hint = near(text, RULES.iter().map(|rule| rule.id)).map_or_else(
        || "`vethlab lint --list` names the rules".to_owned(),
        |id| format!("did you mean {id}?"),
    );
    Err(format!("no such rule; {hint}"))
}

fn level(text: &str) -> Result<LevelArg, String> {
    match text.split_once('=') {
        Some((id, level)) => Ok(LevelArg::Of(rule_id(id)?, level.parse()?)),
        None => Ok(LevelArg::Least(text.parse()?)),
    }
}
