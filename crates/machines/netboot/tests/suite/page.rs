//! The web page in a real browser.

use browser::Page;

use crate::support::{Running, STEM};

#[test]
#[ignore = "wants a browser: cargo verify wants"]
fn an_operator_watches_a_machine_boot() {
    let server = Running::start(None);
    let mut page = Page::open(&format!("http://{}/", server.address));
    page.wait_for("document.getElementById('summary').textContent.endsWith(', 0 machines')");
    assert_eq!(page.text("#images"), "9999.1.0 alpha");
    assert_eq!(page.text("#ignored"), "None.");
    // A host name is text, whatever it contains.
    server.get("/ipxe?mac=52-54-00-12-34-56&hostname=%3Cb%3Ecore-01");
    page.wait_for("document.querySelectorAll('#machines tbody tr').length === 1");
    let row = page.text("#machines tbody tr");
    assert!(
        row.contains("52:54:00:12:34:56") && row.contains("<b>core-01") && row.contains("script"),
        "{row}"
    );
    server.get(&format!("/files/{STEM}.vmlinuz"));
    page.wait_for(
        "document.querySelector('#machines .stages li:last-child').textContent.startsWith('kernel ')",
    );
    let detail = page.value("document.querySelector('#machines .stages li:last-child').title");
    assert_eq!(detail, format!("{STEM}.vmlinuz"));
    assert_eq!(page.errors(), [] as [String; 0]);
}
