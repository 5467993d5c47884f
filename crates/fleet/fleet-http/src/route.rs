//! From a request to its answer.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::SERVER;
use hyper::http::request::Parts;

use crate::answer::{Answer, Answered, refused, unknown_path, wrong_method};
use crate::backend::Backend;
use crate::body::throw_away;
use crate::front::Front;
use crate::journal::Ends;
use crate::request::Target;
use crate::{additions, original};

pub async fn answer<B: Backend>(front: Arc<Front<B>>, request: Request<Incoming>, ends: Ends) -> Answer {
    let (head, mut body) = request.into_parts();
    let answered = answered(&front, &head, &mut body, ends).await;
    throw_away(body).await;
    let mut answer = answered.unwrap_or_else(|document| refused(&document));
    tracing::debug!("HTTP {} {} {}", head.method, head.uri, answer.status().as_u16());
    answer.headers_mut().insert(SERVER, front.server.clone());
    answer
}

async fn answered<B: Backend>(front: &Front<B>, head: &Parts, body: &mut Incoming, ends: Ends) -> Answered {
    // Without a store every path says so.
    front.look(|_, _| ())?;
    let target = Target::of(&head.uri);
    let segments: Vec<&str> = target.segments.iter().map(String::as_str).collect();
    match &segments[..] {
        [""] => Err(wrong_method("")),
        ["metrics"] => original::metrics(front, &head.method),
        ["fleet", "v1", below @ ..] | ["v1-alpha", below @ ..] => {
            original::answer(front, below, &target, head, body).await
        }
        ["keelson", "v1", below @ ..] => additions::answer(front, below, &target, head, body, ends).await,
        _ => Err(unknown_path()),
    }
}
