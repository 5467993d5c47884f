//! Passwords of root and release keys: from a file, from the environment, or typed.

use std::error::Error;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::sys::signal::{SigSet, Signal};
use release_folder::{Password, Passwords};

use crate::failure::UsageError;
use crate::output;

/// Contains a password. Not a flag, whose value other users could see.
const VARIABLE: &str = "KEELSON_KEYS_PASSWORD";
/// Longer than any password.
const FILE_MAX: u64 = 4096;

#[derive(Debug, clap::Args)]
pub struct PasswordFlags {
    /// File with the password of the keys, or `-` for stdin [default: $KEELSON_KEYS_PASSWORD, or ask on the terminal]
    #[arg(long, value_name = "FILE", env = "KEELSON_KEYS_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct NewPasswordFlags {
    #[command(flatten)]
    pub existing: PasswordFlags,
    /// Write new keys unencrypted: whoever can read the files can sign
    #[arg(long)]
    pub no_password: bool,
}

enum Source {
    File(PathBuf),
    Variable(String),
    Terminal,
    None,
}

/// The passwords of one command. Each is read once.
pub struct KnownPasswords {
    source: Source,
    known: Vec<Password>,
    /// Keys whose password was typed.
    prompted: Vec<PathBuf>,
}

impl PasswordFlags {
    pub fn passwords(&self) -> anyhow::Result<KnownPasswords> {
        let source = match (&self.password_file, std::env::var_os(VARIABLE)) {
            (Some(file), _) => Source::File(file.clone()),
            (None, Some(text)) => {
                Source::Variable(text.into_string().ok().with_context(|| format!("{VARIABLE} is not UTF-8"))?)
            }
            (None, None) if io::stdin().is_terminal() => Source::Terminal,
            (None, None) => Source::None,
        };
        Ok(KnownPasswords { source, known: Vec::new(), prompted: Vec::new() })
    }
}

impl NewPasswordFlags {
    /// The password that encrypts new keys; `None` with `--no-password`.
    pub fn new_password(&self, passwords: &mut KnownPasswords) -> anyhow::Result<Option<Password>> {
        if self.no_password { Ok(None) } else { passwords.for_new_keys().map(Some) }
    }
}

impl KnownPasswords {
    fn for_new_keys(&mut self) -> anyhow::Result<Password> {
        let password = match &self.source {
            Source::Terminal => {
                let password = ask("Password for the new keys: ")?;
                if ask("Repeat the password: ")? != password {
                    bail!("the passwords differ");
                }
                password
            }
            Source::None => {
                let why = format!(
                    "new keys need a password, and stdin is no terminal: set --password-file or {VARIABLE}; \
                     --no-password writes unencrypted keys"
                );
                return Err(UsageError(why).into());
            }
            source => source.read()?,
        };
        self.known.push(password.clone());
        Ok(password)
    }

    fn for_key(&mut self, key: &Path) -> anyhow::Result<Option<Password>> {
        let password = match &self.source {
            Source::Terminal if self.prompted.iter().any(|path| path == key) => return Ok(None),
            Source::Terminal => {
                self.prompted.push(key.to_owned());
                ask(&format!("Password of {}: ", output::with_home(key)))?
            }
            Source::None => {
                let why = format!("no password, and stdin is no terminal: set --password-file or {VARIABLE}");
                return Err(UsageError(why).into());
            }
            _ if !self.known.is_empty() => return Ok(None),
            source => source.read()?,
        };
        self.known.push(password.clone());
        Ok(Some(password))
    }
}

impl Passwords for KnownPasswords {
    /// Those that are known first: usually several keys have the same one.
    fn next(
        &mut self,
        key: &Path,
        rejected: usize,
    ) -> Result<Option<Password>, Box<dyn Error + Send + Sync>> {
        match self.known.get(rejected) {
            Some(known) => Ok(Some(known.clone())),
            None => self.for_key(key).map_err(|error| match error.downcast::<UsageError>() {
                Ok(usage) => usage.into(),
                Err(error) => error.into(),
            }),
        }
    }
}

impl Source {
    fn read(&self) -> anyhow::Result<Password> {
        match self {
            Self::File(file) => {
                let name = if is_stdin(file) { "stdin".to_owned() } else { file.display().to_string() };
                let text =
                    read_file(file).with_context(|| format!("cannot read the password from {name}"))?;
                Password::of_line(&text).with_context(|| format!("invalid password in {name}"))
            }
            Self::Variable(text) => {
                Password::of_line(text).with_context(|| format!("invalid password in {VARIABLE}"))
            }
            Self::Terminal | Self::None => bail!("no password"),
        }
    }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn read_file(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    match is_stdin(file) {
        true => io::stdin().lock().take(FILE_MAX).read_to_string(&mut text)?,
        false => std::fs::File::open(file)?.take(FILE_MAX).read_to_string(&mut text)?,
    };
    Ok(text)
}

/// Asks for a password without echo.
fn ask(prompt: &str) -> anyhow::Result<Password> {
    let typed = type_secret(prompt).context("cannot read the password from the terminal")?;
    Ok(Password::of_line(&typed)?)
}

/// Reads a line from the terminal without echo.
pub fn type_secret(prompt: &str) -> anyhow::Result<String> {
    // rpassword raises SIGINT for Ctrl-C, which would end the process before the terminal is restored.
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    interrupt.thread_block().context("cannot block SIGINT")?;
    let typed = rpassword::prompt_password(prompt);
    interrupt.thread_unblock().context("cannot unblock SIGINT")?;
    Ok(typed?)
}
