//! Completion scripts, generated from the flag table.

use crate::flag::{FLAGS, Flag, Group, ValueKind};

fn flags() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(|flag| flag.name.len() > 1 && flag.group != Group::Etcd04)
}

/// The script for `shell`; `None` for an unknown shell.
pub fn script(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(zsh()),
        "fish" => Some(fish()),
        _ => None,
    }
}

fn bash() -> String {
    let names: Vec<_> = flags().map(|flag| format!("--{}", flag.name)).collect();
    let mut cases = String::new();
    for flag in flags() {
        match flag.kind {
            ValueKind::Choice(choices) => cases.push_str(&format!(
                "    --{0}|-{0}) COMPREPLY=($(compgen -W '{1}' -- \"$word\")); return ;;\n",
                flag.name,
                choices.join(" ")
            )),
            ValueKind::Path => cases.push_str(&format!(
                "    --{0}|-{0}) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n",
                flag.name
            )),
            _ => {}
        }
    }
    format!(
        "_etcd() {{\n  local word=\"${{COMP_WORDS[COMP_CWORD]}}\"\n  case \"${{COMP_WORDS[COMP_CWORD-1]}}\" in\n\
         {cases}  esac\n  COMPREPLY=($(compgen -W '{}' -- \"$word\"))\n}}\ncomplete -F _etcd etcd\n",
        names.join(" ")
    )
}

fn zsh() -> String {
    let lines: Vec<_> = flags()
        .map(|flag| {
            let description = flag.help.replace('\'', "").replace(['[', ']', ':'], " ");
            let value = match flag.kind {
                ValueKind::Choice(choices) => format!(":value:({})", choices.join(" ")),
                ValueKind::Path => ":file:_files".to_owned(),
                _ if flag.is_switch() => String::new(),
                _ => ":value: ".to_owned(),
            };
            format!("  '--{}[{description}]{value}'", flag.name)
        })
        .collect();
    format!("#compdef etcd\n_arguments \\\n{}\n", lines.join(" \\\n"))
}

fn fish() -> String {
    flags()
        .map(|flag| {
            let value = match flag.kind {
                ValueKind::Choice(choices) => format!(" -x -a '{}'", choices.join(" ")),
                ValueKind::Path => " -r -F".to_owned(),
                _ if flag.is_switch() => " -f".to_owned(),
                _ => " -x".to_owned(),
            };
            format!("complete -c etcd -l {}{value} -d '{}'\n", flag.name, flag.help.replace('\'', "\\'"))
        })
        .collect()
}
