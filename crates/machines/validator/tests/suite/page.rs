//! The web page in a real browser.

use browser::Page;

use crate::support::Server;

const WRONG: &str = "#cloud-config\nhost-nme: core-01\nwrite_files:\n  - path: /usr/bin/x\n    permissions: 420\n    content: |\n      hello\n";

#[test]
#[ignore = "wants a browser: cargo verify wants"]
fn a_config_is_pasted_judged_and_fixed() {
    let server = Server::start();
    let mut page = Page::open(&server.url("/"));
    assert_eq!(page.text("#summary"), "No user-data.");
    page.click("#text");
    page.paste(WRONG);
    page.wait_for("document.getElementById('summary').textContent.startsWith('cloud-config: 1 error')");
    assert_eq!(page.text("#summary"), "cloud-config: 1 error, 2 warnings, 0 hints");
    let findings = page.text("#findings");
    for line in [
        "unrecognized key \"host_nme\" (did you mean \"hostname\"?)",
        "file cannot be written to a read-only filesystem",
        "permissions 420 are read as octal (did you mean 0644?)",
    ] {
        assert!(findings.contains(line), "{findings}");
    }
    assert!(page.value("document.getElementById('plan').children.length").as_u64().unwrap() > 0);
    assert_eq!(page.value("document.querySelectorAll('#lines .error')[0].textContent"), "4");

    // A click on a finding's position selects its line.
    page.click("#findings li:nth-child(2) .place");
    let selected = "(() => { const t = document.getElementById('text'); return t.value.slice(t.selectionStart, t.selectionEnd); })()";
    assert_eq!(page.value(selected), "path: /usr/bin/x");

    page.click("#fix-all");
    page.wait_for(
        "document.getElementById('summary').textContent === 'cloud-config: 1 error, 0 warnings, 0 hints'",
    );
    let fixed = page.value("document.getElementById('text').value");
    assert_eq!(fixed, WRONG.replace("host-nme", "hostname").replace("420", "\"0644\""));
    let plan = page.text("#plan");
    assert!(plan.contains("set hostname core-01"), "{plan}");
    assert_eq!(page.errors(), [] as [String; 0]);
}

#[test]
#[ignore = "wants a browser: cargo verify wants"]
fn what_is_no_config_and_a_server_that_is_gone_are_told() {
    let mut server = Server::start();
    let mut page = Page::open(&server.url("/"));
    page.click("#text");
    page.paste("hostname: a\n");
    page.wait_for(
        "document.getElementById('summary').textContent === 'unknown: 1 error, 0 warnings, 0 hints'",
    );
    assert_eq!(page.text("#no-plan"), "The user-data would be rejected.");
    page.click("#findings li:first-child button:last-child");
    page.wait_for("document.getElementById('summary').textContent === 'cloud-config: valid'");
    assert_eq!(page.value("document.getElementById('text').value"), "#cloud-config\nhostname: a\n");
    // Markup in pasted text is not interpreted.
    page.click("#sample");
    page.wait_for("document.getElementById('plan').children.length > 3");
    page.click("#text");
    page.value("(() => { const t = document.getElementById('text'); t.setSelectionRange(t.value.length, t.value.length); })()");
    page.paste("<img src=x onerror=alert(1)>: 1\n");
    page.wait_for("document.getElementById('findings').textContent.includes('<img')");
    assert_eq!(page.value("document.querySelectorAll('img').length"), 0);
    assert_eq!(page.errors(), [] as [String; 0]);
    server.stop();
    page.paste("x");
    page.wait_for("document.getElementById('summary').textContent.startsWith('The server does not respond')");
}

#[test]
#[ignore = "wants a browser: cargo verify wants"]
fn validator_screenshot() {
    let server = Server::start();
    let mut page = Page::open(&server.url("/"));
    page.click("#text");
    page.paste(WRONG);
    page.wait_for("document.getElementById('summary').textContent.startsWith('cloud-config: 1 error')");
    page.save_screenshot("validator");
}
