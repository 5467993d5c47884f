//! Descriptions of flags.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// No value, or `=true` and `=false`.
    Switch,
    Text,
    Number,
    /// A signed integer.
    Integer,
    /// Seconds, optionally with a fraction: `3`, `0.5`.
    Seconds,
    /// No value, or `=` and a number.
    OptionalNumber,
    /// Go's format: `1s`, `500ms`, `1m30s`.
    Duration,
    File,
    Directory,
    OneOf(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Without dashes; a one-letter name follows after a comma: `output,o`.
    names: &'static str,
    pub value_kind: ValueKind,
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

    pub const fn switch(names: &'static str, help: &'static str) -> Flag {
        Flag::new(names, ValueKind::Switch, help)
    }

    pub const fn default(self, default: &'static str) -> Flag {
        Flag { default, ..self }
    }

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

    pub fn letter(&self) -> Option<&'static str> {
        self.names.split(',').nth(1)
    }

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

pub const HELP: Flag = Flag::switch("help,h", "show help");
