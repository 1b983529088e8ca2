//! Whether two URLs are those of one database.

use std::fs::canonicalize;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

/// Whether these URLs lead to the same database, as far as they themselves tell: one host can have two names. A URL that cannot be read is
/// no other's.
pub fn is_same_database(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    match (one.starts_with("sqlite:"), other.starts_with("sqlite:")) {
        (true, true) => file(one).is_some_and(|one| file(other).is_some_and(|other| one == other)),
        (false, false) => schema(one).is_some_and(|one| schema(other).is_some_and(|other| one == other)),
        _ => false,
    }
}

/// The file, without links on the way to it.
fn file(url: &str) -> Option<PathBuf> {
    let options = SqliteConnectOptions::from_str(url).ok()?;
    let path = options.get_filename();
    canonicalize(path).ok().or_else(|| {
        let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        Some(canonicalize(directory).ok()?.join(path.file_name()?))
    })
}

/// Where it is and what it is called. The options say which schema of a database it is (`search_path`).
fn schema(url: &str) -> Option<[String; 5]> {
    let options = PgConnectOptions::from_str(url).ok()?;
    let user = options.get_username().to_owned();
    Some([
        options.get_host().to_ascii_lowercase(),
        options.get_socket().map(|socket| socket.display().to_string()).unwrap_or_default(),
        options.get_port().to_string(),
        options.get_database().map_or(user, str::to_owned),
        options.get_options().unwrap_or_default().to_owned(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_known_in_each_way_of_writing_its_url() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().display();
        std::fs::write(directory.path().join("there.db"), "").expect("it can be written");
        std::os::unix::fs::symlink(directory.path().join("there.db"), directory.path().join("link.db"))
            .expect("a link");
        let sqlite = |name: &str| format!("sqlite:{path}/{name}");
        for (one, other, same) in [
            (sqlite("a.db"), sqlite("a.db"), true),
            (sqlite("a.db"), sqlite("./a.db?mode=rwc"), true),
            (sqlite("a.db"), format!("sqlite://{path}/a%2Edb"), true),
            (sqlite("a.db"), sqlite("b.db"), false),
            (sqlite("there.db"), sqlite("link.db"), true),
            ("sqlite:a.db".into(), "sqlite:./a.db".into(), true),
            ("sqlite:a.db".into(), "postgres://h/a.db".into(), false),
            ("postgres://h/a".into(), "postgresql://u:p@H:5432/a".into(), true),
            ("postgres://h/a".into(), "postgres://h/b".into(), false),
            ("postgres://h/a".into(), "postgres://h:5433/a".into(), false),
            ("postgres://h/a".into(), "postgres://h/a?options[search_path]=x".into(), false),
        ] {
            assert_eq!(is_same_database(&one, &other), same, "{one} {other}");
        }
    }
}
