//! `chrysalis testimages`: writes studies of patients who do not exist.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use chrysalis_sizing::{Mix, REFERENCE, StudyKind};

use super::Exit;
use crate::platform::rename_without_replacing;
use crate::synthetic::{CARTS, Cart, Factory, TestInstance, TestStudy};

/// Write studies of patients who do not exist, to try a way to an archive with before real patients depend on it.
///
/// Each study is a folder of DICOM files as some kind of cart would send them: still images, then loops. Names and patient IDs
/// begin with TEST, and every picture says that it is none to diagnose from.
#[derive(Debug, clap::Args)]
pub struct TestimagesArgs {
    /// The folder to write them to; it is made if it is not there
    pub out: PathBuf,
    /// How many studies, of one patient each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub studies: u64,
    /// Patients, pictures and UIDs follow from it: the same again for the same, others for another
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only studies of this kind: radiology, echo, point-of-care [default: by turns]
    #[arg(long, value_parser = kind)]
    pub kind: Option<&'static StudyKind>,
    /// Only what this kind of cart sends: usual, all-jpeg, all-lossless, all-native, or one of those that take turns: rgb,
    /// palette, lossless-grey, rle-planes, native-422, palette-16, palette-explicit, implicit [default: these by turns]
    #[arg(long, value_parser = cart, value_name = "CART")]
    pub encoding: Option<&'static Cart>,
    /// Fewer, smaller and shorter: a few megabytes a study, for a slow line
    #[arg(long)]
    pub small: bool,
}

/// One study to write.
struct Order {
    number: u64,
    cart: &'static Cart,
    kind: &'static StudyKind,
}

impl TestimagesArgs {
    /// Writes them, and says what, and how to send them.
    ///
    /// # Errors
    /// There is no room, a file of that name is there already and is another, or writing fails.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let mix = if self.small { &SMALL } else { &REFERENCE };
        let orders = self.orders(mix);
        fs::create_dir_all(&self.out).with_context(|| self.out.display().to_string())?;
        self.check_room(mix, &orders)?;
        let (mut files, mut bytes) = (0, 0);
        for cart in Cart::all() {
            let mut of_cart = orders.iter().filter(|order| order.cart == cart).peekable();
            if of_cart.peek().is_none() {
                continue;
            }
            let factory = Factory::of_cart(self.seed, mix, cart)?;
            for order in of_cart {
                let study = factory.study_of(order.number, order.kind)?;
                let name = format!("study-{:04}-{}-{}", order.number, dashed(order.kind.name), cart.name);
                let written = write_study(&study, &self.out.join(&name))?;
                files += study.instances().len();
                bytes += written;
                let megabytes = written as f64 / 1e6;
                writeln!(
                    out,
                    "{name}: {} files, {megabytes:.1} MB, {}",
                    study.instances().len(),
                    study.patient_id
                )?;
                writeln!(out, "    {}", cart.about)?;
            }
        }
        writeln!(out, "{files} files with {:.1} MB in {}.", bytes as f64 / 1e6, self.out.display())?;
        writeln!(out, "Send them:  chrysalis send AE@host:port {}", quoted(&self.out))?;
        Ok(Exit::Done)
    }

    fn orders(&self, mix: &'static Mix) -> Vec<Order> {
        let kinds = mix.kinds.iter().cycle();
        let carts = CARTS.iter().cycle();
        let order = |((number, kind), cart): ((u64, &'static StudyKind), &'static Cart)| {
            let wanted = self.kind.and_then(|wanted| mix.kinds.iter().find(|kind| kind.name == wanted.name));
            Order { number, kind: wanted.unwrap_or(kind), cart: self.encoding.unwrap_or(cart) }
        };
        (1..=self.studies).zip(kinds).zip(carts).map(order).collect()
    }

    /// Refuses what would fill the disk, before anything is written.
    fn check_room(&self, mix: &Mix, orders: &[Order]) -> anyhow::Result<()> {
        let estimates = orders.iter().map(|order| Factory::estimate(mix, order.cart, order.kind));
        let needed = estimates.sum::<Result<u64, _>>()?;
        let volume = rustix::fs::statvfs(&self.out).with_context(|| self.out.display().to_string())?;
        let free = volume.f_bavail.saturating_mul(volume.f_frsize);
        ensure!(
            needed <= free,
            "{} studies may need {:.1} GB, and {} has {:.1} GB left; ask for fewer, or for --small ones",
            self.studies,
            needed as f64 / 1e9,
            self.out.display(),
            free as f64 / 1e9
        );
        Ok(())
    }
}

/// Writes the files of a study that are not there yet, and returns the bytes of all.
fn write_study(study: &TestStudy, folder: &Path) -> anyhow::Result<u64> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut bytes = 0;
    for (number, instance) in (1..).zip(study.instances()) {
        let path = folder.join(format!("{number:04}.dcm"));
        bytes += write_instance(&instance, &path).with_context(|| path.display().to_string())?;
    }
    Ok(bytes)
}

/// Writes a file under another name first, so that what has its name is whole. A file that is there already stays; one that is
/// another is an error.
fn write_instance(instance: &TestInstance, path: &Path) -> anyhow::Result<u64> {
    match File::open(path) {
        Ok(file) => {
            let mut there = Compare { there: io::BufReader::new(file), equal: true };
            let length = instance.write_file(&mut there)?;
            ensure!(there.ends_equal()?, "is there already and holds something else; nothing is overwritten");
            return Ok(length);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let part = path.with_extension("dcm.part");
    if fs::symlink_metadata(&part).is_ok_and(|found| found.is_file()) {
        fs::remove_file(&part)?;
    }
    let file = OpenOptions::new().write(true).create_new(true).open(&part)?;
    let mut out = BufWriter::new(file);
    let written = instance.write_file(&mut out).and_then(|length| out.flush().map(|()| length));
    match written.and_then(|length| rename_without_replacing(&part, path).map(|()| length)) {
        Ok(length) => Ok(length),
        Err(error) => {
            // The error says why; half a file helps nobody.
            let _ = fs::remove_file(&part);
            Err(error.into())
        }
    }
}

/// Compares what is written to it with what is there.
struct Compare<R> {
    there: R,
    equal: bool,
}

impl<R: Read> Compare<R> {
    /// Whether all that was written was there, and nothing else.
    fn ends_equal(mut self) -> io::Result<bool> {
        Ok(self.equal && self.there.read(&mut [0])? == 0)
    }
}

impl<R: Read> Write for Compare<R> {
    fn write(&mut self, wanted: &[u8]) -> io::Result<usize> {
        if self.equal {
            let mut there = Vec::with_capacity(wanted.len());
            self.there.by_ref().take(wanted.len() as u64).read_to_end(&mut there)?;
            self.equal = there == wanted;
        }
        Ok(wanted.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn kind(text: &str) -> Result<&'static StudyKind, String> {
    let found = REFERENCE.kinds.iter().find(|kind| dashed(kind.name) == text);
    found.ok_or_else(|| {
        let names: Vec<_> = REFERENCE.kinds.iter().map(|kind| dashed(kind.name)).collect();
        format!("no kind of study; there are {}", names.join(", "))
    })
}

fn cart(text: &str) -> Result<&'static Cart, String> {
    Cart::named(text).ok_or_else(|| {
        let names: Vec<_> = Cart::all().map(|cart| cart.name).collect();
        format!("no kind of cart; there are {}", names.join(", "))
    })
}

fn dashed(name: &str) -> String {
    name.replace(' ', "-")
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+".contains(letter);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// What is made for a slow line: frames a quarter as large, few of them, of the same kinds.
static SMALL: Mix = Mix {
    kinds: &[
        StudyKind { name: "radiology", share: 40, stills: 4, loops: 1, frames_per_loop: 12 },
        StudyKind { name: "echo", share: 20, stills: 2, loops: 3, frames_per_loop: 12 },
        StudyKind { name: "point of care", share: 40, stills: 1, loops: 1, frames_per_loop: 12 },
    ],
    native_frame: 480 * 360 * 3,
    jpeg_frame: 12_200,
    lossless_frame: 200_000,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn args(line: &[&str]) -> Result<TestimagesArgs, clap::Error> {
        let cli = Cli::try_parse_from(["chrysalis", "testimages"].iter().chain(line))?;
        let Some(Command::Testimages(args)) = cli.command else { panic!("another command") };
        Ok(args)
    }

    fn run(line: &[&str]) -> anyhow::Result<String> {
        let mut out = Vec::new();
        args(line).unwrap().run(&mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let paths = crate::cli::files::files_below(folder).unwrap();
        paths
            .into_iter()
            .map(|path| (path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap()))
            .collect()
    }

    #[test]
    fn the_same_seed_writes_the_same_files_and_again_into_the_same_folder_changes_nothing() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = [one.path(), two.path()].map(|folder| folder.to_str().unwrap());
        for folder in [folders[0], folders[1], folders[1]] {
            let said = run(&[folder, "--small", "--studies", "2"]).unwrap();
            assert!(said.contains("study-0001-radiology-rgb: 5 files, "), "{said}");
            assert!(said.contains("study-0002-echo-palette: 5 files, "), "{said}");
            assert!(said.ends_with(&format!("Send them:  chrysalis send AE@host:port {folder}\n")), "{said}");
        }
        assert_eq!(files(one.path()), files(two.path()));
        assert_eq!(files(one.path()).len(), 10);
    }

    #[test]
    fn a_file_that_is_another_is_not_overwritten_and_half_of_one_from_before_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let line = [folder.path().to_str().unwrap(), "--small", "--studies", "1", "--encoding", "all-jpeg"];
        run(&line).unwrap();
        let study = folder.path().join("study-0001-radiology-all-jpeg");
        fs::remove_file(study.join("0003.dcm")).unwrap();
        fs::write(study.join("0003.dcm.part"), "half").unwrap();
        run(&line).unwrap();
        assert_eq!(files(folder.path()).len(), 5, "nothing is left of the half");
        for other in [b"mine".as_slice(), &[&fs::read(study.join("0003.dcm")).unwrap()[..], b"more"].concat()]
        {
            fs::write(study.join("0003.dcm"), other).unwrap();
            let error = format!("{:#}", run(&line).unwrap_err());
            assert!(error.contains("0003.dcm: is there already and holds something else"), "{error}");
            assert_eq!(fs::read(study.join("0003.dcm")).unwrap(), other);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let refused = |line: &[&str]| args(line).unwrap_err().to_string();
        assert!(refused(&["out", "--studies", "0"]).contains("1..=10000"));
        assert!(refused(&["out", "--kind", "x"]).contains("radiology, echo, point-of-care"));
        assert!(
            refused(&["out", "--encoding", "x"]).contains("usual, all-jpeg, all-lossless, all-native, rgb")
        );
        assert!(refused(&[]).contains("OUT"));
    }

    #[test]
    fn more_than_the_disk_holds_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let line = [
            folder.path().to_str().unwrap(),
            "--studies",
            "10000",
            "--encoding",
            "all-native",
            "--kind",
            "echo",
        ];
        let error = run(&line).unwrap_err().to_string();
        // 55 loops of 60 frames of 2.17 MB and some stills.
        assert!(error.starts_with("10000 studies may need 7209"), "{error}");
        assert_eq!(files(folder.path()).len(), 0);
    }

    #[test]
    fn the_help_names_every_cart() {
        let help = args(&["--help"]).unwrap_err().to_string();
        let words: Vec<_> = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).collect();
        assert!(Cart::all().all(|cart| words.contains(&cart.name)), "{help}");
    }
}
