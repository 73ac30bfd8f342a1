//! Whether the volume below a path is encrypted, as far as the system tells.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What the system tells of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volume {
    /// What is written there is encrypted below the file system (dm-crypt, as LUKS has it).
    Encrypted,
    /// It is not, as far as the system knows: a disk that encrypts by itself does not tell.
    Plain,
    /// Nobody can tell: a network, memory, a container's layer, a file system that encrypts by itself.
    Unknown,
}

impl Volume {
    /// The volume that `path` is on.
    pub fn of(path: &Path) -> Self {
        let sys = Path::new("/sys/dev/block");
        match device(path) {
            Ok(Some(device)) => below(sys, device, DEEPEST).unwrap_or(Self::Unknown),
            Ok(None) | Err(_) => Self::Unknown,
        }
    }
}

/// Volumes upon volumes: LVM on RAID on LUKS on a partition is four.
const DEEPEST: u8 = 16;

/// Major and minor number of a block device.
type Device = (u32, u32);

/// The device of the file system that `path` is on. Some file systems have a number of their own, and the mount table has the
/// device.
fn device(path: &Path) -> io::Result<Option<Device>> {
    let device = numbers(fs::metadata(path)?.dev());
    if device.0 != 0 {
        return Ok(Some(device));
    }
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let Some(source) = source_of(&table, device) else { return Ok(None) };
    Ok(Some(numbers(fs::metadata(source)?.rdev())))
}

fn numbers(device: u64) -> Device {
    (rustix::fs::major(device), rustix::fs::minor(device))
}

/// Where a mounted file system with this number comes from, if that is a device (proc_pid_mountinfo(5)).
fn source_of(table: &str, (major, minor): Device) -> Option<&str> {
    let number = format!("{major}:{minor}");
    table.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let is_this = mount.split(' ').nth(2) == Some(number.as_str());
        source.split(' ').nth(1).filter(|source| is_this && source.starts_with("/dev/"))
    })
}

/// Looks at a device, and at all that it is made of: it is encrypted if all of them are.
fn below(sys: &Path, (major, minor): Device, depth: u8) -> io::Result<Volume> {
    let device = sys.join(format!("{major}:{minor}"));
    fs::metadata(&device)?;
    if fs::read_to_string(device.join("dm/uuid")).is_ok_and(|uuid| uuid.starts_with("CRYPT-")) {
        return Ok(Volume::Encrypted);
    }
    let parts = match fs::read_dir(device.join("slaves")) {
        Ok(parts) => parts.collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    if parts.is_empty() || depth == 0 {
        return Ok(Volume::Plain);
    }
    for part in parts {
        let number = fs::read_to_string(part.path().join("dev"))?;
        let Some(part) = read_numbers(number.trim()) else { return Ok(Volume::Unknown) };
        match below(sys, part, depth - 1)? {
            Volume::Encrypted => {}
            other => return Ok(other),
        }
    }
    Ok(Volume::Encrypted)
}

fn read_numbers(text: &str) -> Option<Device> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device as the kernel shows it.
    fn add(sys: &Path, number: &str, uuid: Option<&str>, parts: &[&str]) {
        let device = sys.join(number);
        fs::create_dir_all(device.join("slaves")).unwrap();
        fs::write(device.join("dev"), format!("{number}\n")).unwrap();
        if let Some(uuid) = uuid {
            fs::create_dir(device.join("dm")).unwrap();
            fs::write(device.join("dm/uuid"), uuid).unwrap();
        }
        for part in parts {
            std::os::unix::fs::symlink(sys.join(part), device.join("slaves").join(part)).unwrap();
        }
    }

    #[test]
    fn a_volume_is_encrypted_if_all_that_it_is_made_of_is() {
        let folder = tempfile::tempdir().unwrap();
        let sys = folder.path();
        add(sys, "8:1", None, &[]);
        add(sys, "8:2", None, &[]);
        add(sys, "253:0", Some("CRYPT-LUKS2-0123-luks\n"), &["8:1"]);
        add(sys, "253:1", Some("LVM-abcd\n"), &["253:0"]);
        add(sys, "253:2", Some("LVM-efgh\n"), &["253:0", "8:2"]);
        add(sys, "9:0", None, &["253:1", "253:0"]);
        let table = [
            ((8, 1), Volume::Plain),
            ((253, 0), Volume::Encrypted),
            ((253, 1), Volume::Encrypted),
            ((253, 2), Volume::Plain),
            ((9, 0), Volume::Encrypted),
        ];
        for (device, expected) in table {
            assert_eq!(below(sys, device, DEEPEST).unwrap(), expected, "{device:?}");
        }
        assert!(below(sys, (7, 7), DEEPEST).is_err(), "nobody knows it");
    }

    #[test]
    fn a_chain_that_has_no_end_has_one() {
        let folder = tempfile::tempdir().unwrap();
        add(folder.path(), "253:0", Some("LVM-abcd"), &["253:0"]);
        assert_eq!(below(folder.path(), (253, 0), DEEPEST).unwrap(), Volume::Plain);
    }

    #[test]
    fn the_mount_table_has_the_device_of_a_file_system_with_a_number_of_its_own() {
        let table = "22 1 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n\
                     36 22 0:33 /@srv /srv rw,relatime shared:9 master:1 - btrfs /dev/mapper/srv rw,ssd\n";
        assert_eq!(source_of(table, (0, 33)), Some("/dev/mapper/srv"));
        assert_eq!(source_of(table, (0, 21)), None);
        assert_eq!(source_of(table, (0, 34)), None);
    }

    #[test]
    fn what_is_not_on_a_device_is_unknown() {
        assert_eq!(Volume::of(Path::new("/proc")), Volume::Unknown);
        assert_eq!(Volume::of(Path::new("/not/there")), Volume::Unknown);
    }
}
