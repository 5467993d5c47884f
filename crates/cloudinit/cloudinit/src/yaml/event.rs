//! A safe wrapper for libyaml's event parser.
//!
//! This is the only file of the crate with `unsafe`: it owns a parser and copies each event. Pointers never
//! leave the call that obtained them.

#![allow(unsafe_code, reason = "libyaml is C, translated to unsafe Rust")]

use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use unsafe_libyaml as unsafe_sys;

/// A position in the text, starting at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

#[derive(Debug)]
pub enum Event {
    DocumentStart,
    DocumentEnd,
    StreamEnd,
    Alias(String),
    Scalar(ScalarEvent),
    SequenceStart {
        anchor: Option<String>,
    },
    SequenceEnd,
    MappingStart {
        anchor: Option<String>,
    },
    MappingEnd,
    /// Events that are ignored, such as the start of the stream.
    Other,
}

#[derive(Debug)]
pub struct ScalarEvent {
    pub anchor: Option<String>,
    pub tag: Option<String>,
    /// libyaml guarantees UTF-8.
    pub text: String,
    /// Neither quoted nor a block scalar.
    pub plain: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct ParseError {
    pub message: String,
    /// `None` if only the byte offset is known.
    pub position: Option<Position>,
    pub offset: usize,
}

pub struct Parser<'text> {
    // Boxed: libyaml stores pointers to the parser in itself.
    raw: Box<MaybeUninit<unsafe_sys::yaml_parser_t>>,
    text: PhantomData<&'text [u8]>,
}

impl<'text> Parser<'text> {
    pub fn new(text: &'text [u8]) -> Self {
        let mut raw = Box::new(MaybeUninit::<unsafe_sys::yaml_parser_t>::uninit());
        // SAFETY: `raw` is owned, writable memory of the right type that does not move, and the lifetime in
        // the type keeps `text` valid for as long as the parser.
        unsafe {
            assert!(
                !unsafe_sys::yaml_parser_initialize(raw.as_mut_ptr()).fail,
                "libyaml allocates its buffers"
            );
            unsafe_sys::yaml_parser_set_encoding(raw.as_mut_ptr(), unsafe_sys::YAML_UTF8_ENCODING);
            unsafe_sys::yaml_parser_set_input_string(raw.as_mut_ptr(), text.as_ptr(), text.len() as u64);
        }
        Self { raw, text: PhantomData }
    }

    /// Returns the next event and its start. Must not be called again after an error.
    pub fn next(&mut self) -> Result<(Event, Position), ParseError> {
        let mut raw = MaybeUninit::<unsafe_sys::yaml_event_t>::uninit();
        // SAFETY: the parser was initialized in `new`; on success libyaml has filled the event, which is
        // copied and then deleted exactly once. On failure libyaml leaves nothing to delete.
        unsafe {
            if unsafe_sys::yaml_parser_parse(self.raw.as_mut_ptr(), raw.as_mut_ptr()).fail {
                return Err(self.problem());
            }
            let raw_event = raw.assume_init_mut();
            let position = position(raw_event.start_mark);
            let event = copy(raw_event);
            unsafe_sys::yaml_event_delete(raw_event);
            Ok((event, position))
        }
    }

    fn problem(&self) -> ParseError {
        // SAFETY: the parser is initialized; libyaml's messages are static, NUL-terminated text.
        unsafe {
            let parser = &*self.raw.as_ptr();
            let message = if parser.problem.is_null() {
                "not readable".to_owned()
            } else {
                CStr::from_ptr(parser.problem.cast()).to_string_lossy().into_owned()
            };
            let reader = parser.error == unsafe_sys::YAML_READER_ERROR;
            ParseError {
                message,
                position: (!reader).then(|| position(parser.problem_mark)),
                offset: parser.problem_offset as usize,
            }
        }
    }
}

impl Drop for Parser<'_> {
    fn drop(&mut self) {
        // SAFETY: initialized in `new`, deleted only here.
        unsafe { unsafe_sys::yaml_parser_delete(self.raw.as_mut_ptr()) }
    }
}

fn position(mark: unsafe_sys::yaml_mark_t) -> Position {
    Position { line: mark.line as usize, column: mark.column as usize }
}

/// # Safety
/// `event` was filled by libyaml and is not deleted yet, so that the union field of its type is valid.
unsafe fn copy(event: &unsafe_sys::yaml_event_t) -> Event {
    // SAFETY: the union field that is read is the one of the event's kind.
    unsafe {
        match event.type_ {
            unsafe_sys::YAML_DOCUMENT_START_EVENT => Event::DocumentStart,
            unsafe_sys::YAML_DOCUMENT_END_EVENT => Event::DocumentEnd,
            unsafe_sys::YAML_STREAM_END_EVENT => Event::StreamEnd,
            unsafe_sys::YAML_ALIAS_EVENT => {
                Event::Alias(text_of(event.data.alias.anchor).unwrap_or_default())
            }
            unsafe_sys::YAML_SCALAR_EVENT => {
                let scalar = &event.data.scalar;
                let bytes = std::slice::from_raw_parts(scalar.value, scalar.length as usize);
                Event::Scalar(ScalarEvent {
                    anchor: text_of(scalar.anchor),
                    tag: text_of(scalar.tag),
                    text: String::from_utf8_lossy(bytes).into_owned(),
                    plain: scalar.style == unsafe_sys::YAML_PLAIN_SCALAR_STYLE,
                })
            }
            unsafe_sys::YAML_SEQUENCE_START_EVENT => {
                Event::SequenceStart { anchor: text_of(event.data.sequence_start.anchor) }
            }
            unsafe_sys::YAML_SEQUENCE_END_EVENT => Event::SequenceEnd,
            unsafe_sys::YAML_MAPPING_START_EVENT => {
                Event::MappingStart { anchor: text_of(event.data.mapping_start.anchor) }
            }
            unsafe_sys::YAML_MAPPING_END_EVENT => Event::MappingEnd,
            _ => Event::Other,
        }
    }
}

/// # Safety
/// `text` is null, or NUL-terminated and valid.
unsafe fn text_of(text: *const u8) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: guaranteed by the caller.
    Some(unsafe { CStr::from_ptr(text.cast()) }.to_string_lossy().into_owned())
}
