//! One flag: its names, what it takes, its help.

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing, or `=true` and `=false`.
    Nothing,
    Text,
    Number,
    /// A whole number, perhaps below zero.
    Integer,
    /// A number of seconds, perhaps with a fraction: `3`, `0.5`.
    Seconds,
    /// Nothing, or `=` and a number.
    PerhapsNumber,
    /// Go's form: `1s`, `500ms`, `1m30s`.
    Duration,
    File,
    Directory,
    OneOf(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Without dashes; its one letter is after the comma: `output,o`.
    names: &'static str,
    pub takes: Takes,
    pub help: &'static str,
    /// Shown in the help page; `""` for none.
    pub default: &'static str,
    /// Understood, but in no help page and no completion.
    pub hidden: bool,
}

impl Flag {
    /// `names` as in `output,o`: without dashes, the one letter after the comma.
    pub const fn new(names: &'static str, takes: Takes, help: &'static str) -> Flag {
        Flag { names, takes, help, default: "", hidden: false }
    }

    pub const fn switch(names: &'static str, help: &'static str) -> Flag {
        Flag::new(names, Takes::Nothing, help)
    }

    pub const fn default(self, default: &'static str) -> Flag {
        Flag { default, ..self }
    }

    pub const fn hidden(self) -> Flag {
        Flag { hidden: true, ..self }
    }

    /// The name under which values are kept.
    pub fn name(&self) -> &'static str {
        self.names.split(',').next().unwrap_or_default()
    }

    /// What counts where it is not given; `""` for none.
    pub fn default_value(&self) -> &'static str {
        self.default
    }

    pub fn letter(&self) -> Option<&'static str> {
        self.names.split(',').nth(1)
    }

    pub fn is_called(&self, name: &str) -> bool {
        self.names.split(',').any(|one| one == name)
    }

    /// `--output, -o value`
    pub fn usage(&self) -> String {
        let value = match self.takes {
            Takes::Nothing => "",
            Takes::PerhapsNumber => "[=value]",
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

/// What every command understands.
pub const HELP: Flag = Flag::switch("help,h", "show help");
