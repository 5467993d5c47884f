//! Descriptions of flags.

/// Which values a flag accepts, and how they are completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// No value, or `=true` and `=false`.
    Switch,
    /// Any text.
    Text,
    /// Not negative.
    Number,
    /// A signed integer.
    Integer,
    /// Seconds, optionally with a fraction: `3`, `0.5`.
    Seconds,
    /// No value, or `=` and a number.
    OptionalNumber,
    /// Go's format: `1s`, `500ms`, `1m30s`.
    Duration,
    /// A path; the shell completes it.
    File,
    /// A path; the shell completes directories.
    Directory,
    /// Exactly one of these.
    OneOf(&'static [&'static str]),
}

/// A flag of a program or command.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Without dashes; a one-letter name follows after a comma: `output,o`.
    names: &'static str,
    /// Checked while parsing.
    pub value_kind: ValueKind,
    /// One line in help pages and completions.
    pub help: &'static str,
    /// Shown in the help page; `""` for none.
    pub(crate) default: &'static str,
    /// Parsed, but not in help pages and completions.
    pub hidden: bool,
}

impl Flag {
    /// `names` without dashes; a one-letter name follows after a comma, as in `output,o`.
    pub const fn new(names: &'static str, value_kind: ValueKind, help: &'static str) -> Flag {
        Flag { names, value_kind, help, default: "", hidden: false }
    }

    /// A flag without a value, initially off.
    pub const fn switch(names: &'static str, help: &'static str) -> Flag {
        Flag::new(names, ValueKind::Switch, help)
    }

    /// Sets the default that the help page shows.
    pub const fn default(self, default: &'static str) -> Flag {
        Flag { default, ..self }
    }

    /// Leaves the flag out of help pages and completions.
    pub const fn hidden(self) -> Flag {
        Flag { hidden: true, ..self }
    }

    /// The name under which values are stored.
    pub fn name(&self) -> &'static str {
        self.names.split(',').next().unwrap_or_default()
    }

    /// The value if the flag is not set; `""` for none.
    pub fn default_value(&self) -> &'static str {
        match self.value_kind {
            ValueKind::Switch if self.default.is_empty() => "false",
            _ => self.default,
        }
    }

    /// The one-letter name, if there is one.
    pub fn letter(&self) -> Option<&'static str> {
        self.names.split(',').nth(1)
    }

    /// By its long or its one-letter name.
    pub fn is_called(&self, name: &str) -> bool {
        self.names.split(',').any(|one| one == name)
    }

    /// `--output, -o value`
    pub fn usage(&self) -> String {
        let value = match self.value_kind {
            ValueKind::Switch => "",
            ValueKind::OptionalNumber => "[=value]",
            _ => " value",
        };
        let dashed = self
            .names
            .split(',')
            .map(|name| if name.len() == 1 { format!("-{name}") } else { format!("--{name}") });
        let names: Vec<_> = dashed.map(|name| format!("{name}{value}")).collect();
        names.join(", ")
    }
}

/// Part of every program.
pub const HELP: Flag = Flag::switch("help,h", "show help");
