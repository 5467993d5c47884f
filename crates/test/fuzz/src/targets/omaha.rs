//! Omaha requests of machines to the channel server, and responses of servers.

use omaha::{CheckResponse, ReadError, Request, Response, limits};

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "omaha",
    about: "a message of Omaha gives a value that is written and read as itself, or an error with its place",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    match Request::read(bytes) {
        Ok(request) => {
            assert!(request.apps.len() <= limits::APPS);
            assert!(request.apps.iter().all(|app| app.events.len() <= limits::EVENTS));
            // Escaping makes it longer.
            let written = request.write();
            if written.len() <= limits::REQUEST_BYTES {
                assert_eq!(Request::read(written.as_bytes()), Ok(request));
            }
        }
        Err(error) => check_error(&error),
    }
    match Response::read(bytes) {
        Ok(response) => {
            match response.check_response() {
                Ok(CheckResponse::Update(offer)) => assert!(!offer.urls.is_empty() && offer.payload.size > 0),
                Ok(CheckResponse::NoUpdate { .. }) => {}
                Err(refusal) => assert!(!refusal.to_string().is_empty()),
            }
            let written = response.write();
            if written.len() <= limits::RESPONSE_BYTES {
                assert_eq!(Response::read(written.as_bytes()), Ok(response));
            }
        }
        Err(error) => check_error(&error),
    }
}

fn check_error(error: &ReadError) {
    let message = error.to_string();
    assert!(!message.is_empty() && message.len() < 2000, "{message}");
}

fn seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 5] = [
        include_bytes!("../../../../update/omaha/tests/golden/check.xml"),
        include_bytes!("../../../../update/omaha/tests/golden/update.xml"),
        include_bytes!("../../../../update/omaha/tests/golden/noupdate.xml"),
        b"<request protocol='3.0'><os/><app appid='&#123;a}'><event eventtype='3' eventresult='0' errorcode='-9'/>\
          <ping/></app></request>",
        b"<!DOCTYPE r [<!ENTITY a \"b\">]><response protocol='3.0'><app status='&a;'/></response>",
    ];
    texts.map(<[u8]>::to_vec).to_vec()
}
