//! A disk that records every write, and a boot partition on it.

use std::cell::RefCell;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::rc::Rc;

use disk_slots::{Disk, Esp, ReadSeek, SECTOR};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

pub const MIB: usize = 1 << 20;
const FOLDER: &str = "EFI/Linux";

/// Size of the disk of update tests, in bytes.
pub const DISK: usize = 4 * MIB;
const PAGE: usize = 4096;

/// Content of a disk. Clones share unmodified pages, since tests create thousands.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pages: Vec<Rc<[u8; PAGE]>>,
    length: usize,
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        let page = |chunk: &[u8]| {
            let mut page = [0; PAGE];
            page[..chunk.len()].copy_from_slice(chunk);
            Rc::new(page)
        };
        Self { pages: bytes.chunks(PAGE).map(page).collect(), length: bytes.len() }
    }
}

impl Content {
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        self.read(0, &mut bytes);
        bytes
    }

    /// Splits `length` bytes from `offset` into pages: page, range in the page, range in the bytes.
    fn parts(offset: usize, length: usize) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (page, from) = ((offset + at) / PAGE, (offset + at) % PAGE);
            let count = (length - at).min(PAGE - from);
            let part = (count > 0).then(|| (page, from..from + count, at..at + count));
            at += count;
            part
        })
    }

    pub fn read(&self, offset: usize, into: &mut [u8]) {
        assert!(offset + into.len() <= self.length, "beyond the end");
        for (page, from, to) in Self::parts(offset, into.len()) {
            into[to].copy_from_slice(&self.pages[page][from]);
        }
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.length, "beyond the end");
        for (page, to, from) in Self::parts(offset, bytes.len()) {
            Rc::make_mut(&mut self.pages[page])[to].copy_from_slice(&bytes[from]);
        }
    }
}

/// What happened to the disk, in order.
#[derive(Debug, Clone)]
pub enum Event {
    Write { offset: usize, bytes: Vec<u8> },
    Sync,
}

#[derive(Debug, Default)]
struct State {
    content: Content,
    events: Vec<Event>,
}

/// Clones refer to the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Rc<RefCell<State>>);

impl SimDisk {
    pub fn new(content: impl Into<Content>) -> Self {
        Self(Rc::new(RefCell::new(State { content: content.into(), events: Vec::new() })))
    }

    pub fn content(&self) -> Content {
        self.0.borrow().content.clone()
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.borrow().content.to_vec()
    }

    pub fn events(&self) -> Vec<Event> {
        self.0.borrow().events.clone()
    }

    pub fn put(&self, offset: usize, bytes: &[u8]) {
        let mut state = self.0.borrow_mut();
        state.content.write(offset, bytes);
        state.events.push(Event::Write { offset, bytes: bytes.to_vec() });
    }

    pub fn flush(&self) {
        self.0.borrow_mut().events.push(Event::Sync);
    }
}

impl Disk for SimDisk {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.0.borrow().content.read(offset, into);
        Ok(())
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.put(usize::try_from(offset).unwrap(), bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.flush();
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.borrow().content.length as u64)
    }
}

/// A range of a disk, for a file system.
#[derive(Debug)]
pub struct Part {
    pub disk: SimDisk,
    pub start: usize,
    pub length: usize,
    at: usize,
}

impl Part {
    pub fn new(disk: &SimDisk, start: usize, length: usize) -> Self {
        Self { disk: disk.clone(), start, length, at: 0 }
    }
}

impl Read for Part {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let take = into.len().min(self.length - self.at);
        self.disk.read_at(&mut into[..take], (self.start + self.at) as u64)?;
        self.at += take;
        Ok(take)
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let take = bytes.len().min(self.length - self.at);
        self.disk.put(self.start + self.at, &bytes[..take]);
        self.at += take;
        Ok(take)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(to) => i64::try_from(to).unwrap(),
            SeekFrom::End(by) => i64::try_from(self.length).unwrap() + by,
            SeekFrom::Current(by) => i64::try_from(self.at).unwrap() + by,
        };
        self.at = usize::try_from(to).map_err(|_| io::Error::other("before the beginning"))?;
        Ok(self.at as u64)
    }
}

/// The boot partition of a simulated disk.
pub struct SimEsp {
    pub disk: SimDisk,
    pub start: usize,
    pub length: usize,
}

impl SimEsp {
    /// Creates the file system and its folder.
    pub fn format(&self) {
        let mut part = Part::new(&self.disk, self.start, self.length);
        fatfs::format_volume(&mut part, FormatVolumeOptions::new().bytes_per_cluster(512)).unwrap();
        let system = self.mount();
        system.root_dir().create_dir("EFI").unwrap();
        system.root_dir().create_dir(FOLDER).unwrap();
        system.unmount().unwrap();
    }

    pub fn mount(&self) -> FileSystem<Part> {
        FileSystem::new(Part::new(&self.disk, self.start, self.length), FsOptions::new()).unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let write = |system: &FileSystem<Part>| {
            let mut file = system.root_dir().open_dir(FOLDER)?.create_file(name)?;
            file.truncate()?;
            file.write_all(bytes)
        };
        self.change(write).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        Esp::open(self, name).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }
}

impl SimEsp {
    /// Applies `change` to a copy, then writes the changed sectors, as a kernel does with its cache.
    fn change(&self, change: impl FnOnce(&FileSystem<Part>) -> io::Result<()>) -> io::Result<()> {
        let copy = SimEsp { disk: SimDisk::new(self.disk.content()), ..*self };
        let system = copy.mount();
        change(&system)?;
        system.unmount()?;
        let (old, new) = (self.disk.content(), copy.disk.content());
        let sector = |content: &Content, at: usize| {
            let mut sector = [0; SECTOR];
            content.read(at, &mut sector);
            sector
        };
        for at in (self.start..self.start + self.length).step_by(SECTOR) {
            let written = sector(&new, at);
            if sector(&old, at) != written {
                self.disk.put(at, &written);
            }
        }
        self.disk.flush();
        Ok(())
    }
}

impl Esp for SimEsp {
    fn list(&self) -> io::Result<Vec<String>> {
        let system = self.mount();
        let names = system.root_dir().open_dir(FOLDER)?.iter().map(|entry| Ok(entry?.file_name()));
        Ok(names
            .collect::<io::Result<Vec<_>>>()?
            .into_iter()
            .filter(|name| !name.starts_with(".."))
            .collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadSeek + '_>> {
        let system = self.mount();
        let mut bytes = Vec::new();
        system.root_dir().open_dir(FOLDER)?.open_file(name)?.read_to_end(&mut bytes)?;
        Ok(Box::new(Cursor::new(bytes)))
    }

    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        if !self.list()?.iter().any(|file| file == name) {
            return Ok(None);
        }
        Ok(Some(self.read(name).len() as u64))
    }

    fn free(&self) -> io::Result<u64> {
        let about = self.mount().stats()?;
        Ok(u64::from(about.free_clusters()) * u64::from(about.cluster_size()))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.change(|system| system.root_dir().open_dir(FOLDER)?.remove(name))
    }

    fn set_head(&mut self, name: &str, head: &[u8; SECTOR]) -> io::Result<()> {
        self.change(|system| system.root_dir().open_dir(FOLDER)?.open_file(name)?.write_all(head))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.change(|system| {
            let folder = system.root_dir().open_dir(FOLDER)?;
            folder.rename(from, &folder, to)
        })
    }
}
