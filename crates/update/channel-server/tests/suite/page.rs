//! The web page in a real browser.

use browser::Page;
use omaha::{ErrorCode, Event, EventResult, EventType};

use crate::support::{Server, keys, machine};

/// Selects an option as a user does, with the events that the page receives.
fn choose(page: &mut Page, selector: &str, value: &str) {
    page.value(&format!(
        "(() => {{ const s = document.querySelector('{selector}'); s.value = '{value}'; \
         s.dispatchEvent(new Event('change', {{ bubbles: true }})); s.blur(); }})()"
    ));
}

fn log_in(page: &mut Page, token: &str) {
    page.click("#token");
    page.paste(token);
    page.click("#enter");
}

/// Reports download, installation and reboot.
fn update(server: &Server, id: &str, track: &str, from: &str, to: &str) {
    let event = |kind| {
        let mut request = machine(id, from, track);
        (request.ping, request.update_check, request.events) =
            (false, false, vec![Event::new(kind, EventResult::SUCCESS)]);
        server.omaha(request);
    };
    server.omaha(machine(id, from, track));
    [EventType::DOWNLOAD_STARTED, EventType::DOWNLOAD_FINISHED, EventType::UPDATE_COMPLETE]
        .into_iter()
        .for_each(event);
    let mut request = machine(id, to, track);
    request.events = vec![Event::rebooted(from)];
    server.omaha(request);
}

#[test]
#[ignore = "wants a browser: cargo verify wants"]
fn an_operator_watches_promotes_pauses_and_rolls_back() {
    let (server, signer) = (Server::start(), keys());
    let mut page = Page::open(&server.url("/"));
    log_in(&mut page, "no such token");
    page.wait_for("document.getElementById('refused').textContent.includes('a token is required')");
    log_in(&mut page, &server.admin());
    page.wait_for("document.getElementById('live').textContent === 'Live.'");
    page.wait_for("document.querySelectorAll('#channels tr').length === 3");
    assert_eq!(page.text("#channel-alpha .version"), "none");

    // The page updates without a reload.
    server.publish("2.0.0", "alpha", &signer);
    page.wait_for("document.querySelector('#channel-alpha .version').textContent === '2.0.0'");
    for id in ["m1", "m2", "m3"] {
        server.omaha(machine(id, "1.0.0", "alpha"));
    }
    page.wait_for("document.querySelector('#group-alpha .state').textContent === '0 of 3 on 2.0.0, 3 updating, 0 failed'");
    update(&server, "m1", "alpha", "1.0.0", "2.0.0");
    page.wait_for("document.querySelector('#group-alpha .state').textContent === '1 of 3 on 2.0.0, 2 updating, 0 failed'");
    page.wait_for("document.querySelectorAll('#machines tr').length === 3");
    page.wait_for("document.querySelectorAll('#machines td:nth-child(4)')[0].textContent === 'complete'");
    let mut failed = machine("m2", "1.0.0", "alpha");
    failed.events = vec![Event::failed(ErrorCode(0x1000_000a))];
    failed.update_check = false;
    server.omaha(failed);
    page.wait_for("document.getElementById('activity').textContent.includes('m2 failed with 2.0.0: error 10 PayloadHashMismatchError')");

    // Promote, pause, resume, change the percentage, roll back.
    choose(&mut page, "#target-alpha", "beta");
    page.click("#promote-alpha");
    page.wait_for("document.querySelector('#channel-beta .version').textContent === '2.0.0'");
    choose(&mut page, "#target-alpha", "stable");
    page.click("#promote-alpha");
    page.wait_for(
        "document.getElementById('told').textContent.includes('2.0.0 is not signed for channel stable')",
    );
    page.click("#pause-alpha");
    page.wait_for(
        "document.querySelector('#group-alpha .state').textContent === 'Paused: from the web page'",
    );
    let paused = server.omaha(machine("m4", "1.0.0", "alpha"));
    assert_eq!(paused.apps[0].update_check.as_ref().unwrap().reason.as_deref(), Some("paused"));
    page.click("#resume-alpha");
    page.wait_for("document.querySelector('#group-alpha .state').textContent.startsWith('1 of 4 on 2.0.0')");
    page.value("document.getElementById('percent-alpha').value = '0'");
    page.click("#apply-alpha");
    page.wait_for("document.querySelector('#group-alpha').textContent.includes('rollout to 0 %')");
    let held = server.omaha(machine("m5", "1.0.0", "alpha"));
    assert_eq!(held.apps[0].update_check.as_ref().unwrap().reason.as_deref(), Some("not-in-share"));
    server.publish("3.0.0", "alpha", &signer);
    page.wait_for("document.querySelector('#channel-alpha .version').textContent === '3.0.0'");
    page.wait_for("document.querySelector('#version-alpha').options.length === 2");
    choose(&mut page, "#version-alpha", "2.0.0");
    page.click("#set-alpha");
    page.wait_for("document.querySelector('#channel-alpha .version').textContent === '2.0.0'");
    page.wait_for(
        "document.getElementById('activity').textContent.includes('machines with a newer version keep it')",
    );

    // Image files: a link for those that their channel serves.
    server.publish_images("2.0.0", &["alpha"], &signer);
    let link = "document.getElementById('package-2.0.0').querySelector('.images a')";
    page.wait_for(&format!("{link}?.textContent === 'alpha raw.zst'"));
    let path = "/images/alpha/amd64-usr/2.0.0/keelson-2.0.0-alpha.raw.zst";
    assert_eq!(page.value(&format!("{link}.href")), server.url(path));

    // The timeline.
    page.wait_for("document.querySelectorAll('#group-alpha svg polygon').length >= 1");
    page.wait_for("document.querySelector('#group-alpha .legend').textContent.includes('1.0.0')");
    // Texts from machines are never interpreted as markup.
    let mut request = machine("<img src=x onerror=alert(1)>", "1.0.0", "alpha");
    request.machine_alias = Some("<b>m</b>".into());
    server.omaha(request);
    page.wait_for("document.getElementById('machines').textContent.includes('<b>m</b>')");
    assert_eq!(page.value("document.querySelectorAll('img, #machines b').length"), 0);
    let unexpected = |error: &&String| !["401", "409"].iter().any(|status| error.contains(status));
    let errors: Vec<&String> = page.errors().iter().filter(unexpected).collect();
    assert_eq!(errors, [] as [&String; 0]);
}

#[test]
#[ignore = "wants a browser: cargo verify wants"]
fn a_viewer_has_read_only_access_and_sees_a_lost_connection() {
    let mut server = Server::start();
    let mut page = Page::open(&server.url("/"));
    log_in(&mut page, &server.viewer());
    page.wait_for("document.querySelectorAll('#channels tr').length === 3");
    assert_eq!(
        page.value("getComputedStyle(document.getElementById('pause-alpha').parentElement).display"),
        "none"
    );
    server.stop();
    page.wait_for("document.getElementById('live').textContent.startsWith('Connection lost')");
}

#[test]
#[ignore = "wants a browser: cargo verify wants"]
fn channel_page_screenshot() {
    let (server, signer) = (Server::start(), keys());
    let mut page = Page::open(&server.url("/"));
    log_in(&mut page, &server.admin());
    page.wait_for("document.querySelectorAll('#channels tr').length === 3");
    server.publish("2.0.0", "alpha", &signer);
    server.publish_images("2.0.0", &["alpha"], &signer);
    for number in 1..=5 {
        let id = format!("core-{number:02}");
        server.omaha(machine(&id, "1.0.0", "alpha"));
        if number <= 3 {
            update(&server, &id, "alpha", "1.0.0", "2.0.0");
        }
    }
    page.wait_for("document.querySelector('#group-alpha .state').textContent === '3 of 5 on 2.0.0, 2 updating, 0 failed'");
    page.wait_for("document.querySelectorAll('#group-alpha svg polygon').length >= 1");
    page.save_screenshot("channel-page");
}
