//! User-data as a template. The machine substitutes cloudinit's tokens (`$private_ipv4`, ...) itself, by its own
//! addresses; the server substitutes what it knows about the machine, by the same rules.

use cloudinit::template::substitute_tokens;

use crate::machine::Mac;
use crate::query::Query;

/// Substitutes `$netboot_mac`, `$netboot_uuid`, `$netboot_serial`, `$netboot_hostname` and `$netboot_server`. What is
/// not known becomes empty; `\$netboot_mac` becomes `$netboot_mac`.
#[must_use]
pub fn render(template: &[u8], query: &Query, url: &str) -> Vec<u8> {
    let mac = query.mac.map(Mac::with_hyphens);
    let uuid = query.uuid.map(|uuid| uuid.to_string());
    let tokens = [
        ("$netboot_hostname", query.host_name.as_ref().map(|name| name.as_str())),
        ("$netboot_mac", mac.as_deref()),
        ("$netboot_serial", query.serial.as_ref().map(|serial| serial.as_str())),
        ("$netboot_server", Some(url)),
        ("$netboot_uuid", uuid.as_deref()),
    ];
    substitute_tokens(template, &tokens).text.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_the_server_are_substituted_and_those_of_the_machine_remain() {
        let check = |query: &str, template: &str, expect: &str| {
            let rendered = render(template.as_bytes(), &Query::parse(query).unwrap(), "http://10.9.0.1");
            assert_eq!(String::from_utf8(rendered).unwrap(), expect);
        };
        let query =
            "mac=52:54:00:12:34:56&uuid=6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54&serial=A%201&hostname=core-01";
        check(query, "hostname: n-$netboot_mac", "hostname: n-52-54-00-12-34-56");
        check(query, "$netboot_hostname $netboot_serial", "core-01 A 1");
        check(query, "$netboot_uuid", "6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54");
        check(query, "$netboot_server/", "http://10.9.0.1/");
        check(
            query,
            "a: $private_ipv4 \\$private_ipv4 \\$netboot_mac",
            "a: $private_ipv4 \\$private_ipv4 $netboot_mac",
        );
        check("", "[$netboot_serial]", "[]");
        // A value is not scanned again.
        check("hostname=%24netboot_mac&mac=52:54:00:12:34:56", "$netboot_hostname", "$netboot_mac");
    }
}
