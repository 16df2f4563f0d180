//! URLs of database servers: what the driver is told, what is refused and how, and that any text is one or the other.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;

use proptest::prelude::*;

use super::{Fault, Host, Server};

fn hosts(url: &str) -> Vec<String> {
    Server::parse(url, None).unwrap().hosts().iter().map(Host::to_string).collect()
}

fn through(url: &str) -> (String, String) {
    let (url, socket) = Server::parse(url, None).unwrap().url_through(Path::new("/d"));
    (url, socket.display().to_string())
}

fn fault(url: &str) -> Fault {
    match Server::parse(url, None) {
        Ok(server) => panic!("{url} is taken as {}", server.url()),
        Err(fault) => fault,
    }
}

#[test]
fn hosts_are_found_in_all_their_forms() {
    for (url, found) in [
        ("postgres://u:p@db/cc", &["db:5432"][..]),
        ("postgresql://db.example.com:6432/cc?sslmode=require", &["db.example.com:6432"]),
        ("mysql://u:p@db/cc", &["db:3306"]),
        ("mariadb://u:p@h1,h2:3307/cc", &["h1:3306", "h2:3307"]),
        ("mysql:///cc", &["localhost:3306"]),
        ("postgres://u:p@h1:1,h2:2/cc?target_session_attrs=read-write", &["h1:1", "h2:2"]),
        ("postgres://h1,h2,10.0.0.3/cc?port=7&target_session_attrs=any", &["h1:7", "h2:7", "10.0.0.3:7"]),
        ("postgres:///cc?host=h1,h2&port=1,2&target_session_attrs=primary", &["h1:1", "h2:2"]),
        ("postgres://u@h0/cc?host=h1", &["h1:5432"]),
        ("postgres://u@h0:7/cc?host=h1,h2:2", &["h1:7", "h2:2"]),
        ("postgres://u@h0/cc?hostaddr=10.0.0.1", &["10.0.0.1:5432"]),
        ("postgres://[::1]:5/cc", &["[::1]:5"]),
        ("postgres://[fd00::1],[fd00::2]:7/cc", &["[fd00::1]:5432", "[fd00::2]:7"]),
        ("postgres:///cc?host=::1", &["[::1]:5432"]),
        ("postgres://a@b:p@ss@db_1/cc", &["db_1:5432"]),
    ] {
        assert_eq!(hosts(url), found, "{url}");
    }
    let standard = Server::parse("postgres://h1,h2:2/cc", Some(7)).unwrap();
    assert_eq!(standard.hosts().iter().map(|host| host.port).collect::<Vec<_>>(), [7, 2]);
}

#[test]
fn what_can_be_meant_in_two_ways_is_refused() {
    assert!(matches!(fault("postgres://db:5432/cc?port=6432"), Fault::Ports));
    assert_eq!(hosts("postgres://db:6432/cc?port=6432"), ["db:6432"]);
    let fault = fault("postgres://postgres:5432/S3CRET@db/cc").to_string();
    assert!(fault.contains("%2F") && !fault.contains("S3CRET"), "{fault}");
}

#[test]
fn the_driver_comes_over_a_socket_and_keeps_the_name_of_the_first_host() {
    for (url, told, socket) in [
        ("postgres://u:p@db/cc", "postgres://u:p@db:5432/cc?host=%2Fd", "/d/.s.PGSQL.5432"),
        (
            "postgres://u:p%40w@h1:1,h2:2/cc?sslmode=verify-ca&target_session_attrs=read-write&sslrootcert=/ca.pem",
            "postgres://u:p%40w@h1:1/cc?sslmode=verify-ca&sslrootcert=%2Fca.pem&host=%2Fd",
            "/d/.s.PGSQL.1",
        ),
        ("postgres://u@[::1]:7/cc", "postgres://u@[::1]:7/cc?host=%3A%3A1&host=%2Fd", "/d/.s.PGSQL.7"),
        ("postgres:///cc?host=db&port=7&user=u", "postgres://db:7/cc?user=u&host=%2Fd", "/d/.s.PGSQL.7"),
        ("mariadb://u:p@h1,h2:2/cc", "mysql://u:p@h1:3306/cc?socket=%2Fd%2Fserver.sock", "/d/server.sock"),
        ("mysql://u@[::1]/cc", "mysql://u@localhost:3306/cc?socket=%2Fd%2Fserver.sock", "/d/server.sock"),
    ] {
        assert_eq!(through(url), (told.to_owned(), socket.to_owned()), "{url}");
    }
}

#[test]
fn a_unix_socket_or_no_host_is_left_to_the_driver() {
    for (url, told) in [
        ("postgres://u@localhost:7/cc?host=/run/pg", "postgres://u@localhost:7/cc?host=%2Frun%2Fpg"),
        ("postgres://u@/cc?host=/run/pg&port=7", "postgres://u@localhost/cc?host=%2Frun%2Fpg&port=7"),
        ("postgres://u@%2Frun%2Fpg/cc", "postgres://u@%2Frun%2Fpg/cc"),
        ("postgres:///cc?target_session_attrs=any", "postgres:///cc"),
        ("mysql://u:p@localhost/cc?socket=/run/my.sock", "mysql://u:p@localhost/cc?socket=%2Frun%2Fmy.sock"),
    ] {
        let server = Server::parse(url, None).unwrap();
        assert_eq!((server.url().as_str(), server.hosts()), (told, &[][..]), "{url}");
    }
}

#[test]
fn what_the_driver_would_ignore_is_refused_with_its_name_and_the_way_out() {
    for (url, name, way_out) in [
        ("postgres://db/cc?connect_timeout=3", "connect_timeout", "database.connect_timeout"),
        ("postgres://db/cc?keepalives_idle=3", "keepalives_idle", "keep-alive already"),
        ("postgres://db/cc?sslmode=require&keepalives=1", "keepalives", "keep-alive already"),
        ("postgres://db/cc?tcp_user_timeout=3", "tcp_user_timeout", "already"),
        ("postgres://db/cc?target_session_attrs=prefer-standby", "target_session_attrs", "read-write"),
        ("postgres://db/cc?statement-cache-capacity=3", "statement-cache-capacity", "take it out"),
        ("postgres://db/cc?statement_timeout=3", "statement_timeout", "database.statement_timeout"),
        ("postgres://db/cc?gssencmode=disable", "gssencmode", "sslmode"),
        ("postgres://db/cc?host=/run/pg&connect_timeout=3", "connect_timeout", "database.connect_timeout"),
        ("mysql://db/cc?connect_timeout=3", "connect_timeout", "database.connect_timeout"),
        ("mysql://db/cc?useSSL=true", "useSSL", "sslmode"),
        ("mysql://db/cc?target_session_attrs=standby", "target_session_attrs", "take it out"),
        ("mysql://db/cc?host=other", "host", "socket"),
    ] {
        let said = fault(url).to_string();
        assert!(said.contains(&format!("the parameter {name} ")) && said.contains(way_out), "{url}: {said}");
    }
}

#[test]
fn hosts_that_can_not_be_are_refused_by_their_place() {
    for (url, place) in [
        ("postgres://h1,,h2/cc", 2),
        ("postgres://h1,/cc", 2),
        ("mysql://,h2/cc", 1),
        ("postgres://h1:0/cc", 1),
        ("postgres://h1:1,h2:65536/cc", 2),
        ("postgres://h1:x/cc", 1),
        ("postgres://h1:/cc", 1),
        ("postgres://fd00::1:5432x/cc", 1),
        ("postgres://[h1]/cc", 1),
        ("postgres://[::1]5/cc", 1),
        ("postgres://h 1/cc", 1),
        ("postgres:///cc?host=h1,h%202", 2),
    ] {
        assert_eq!(fault(url), Fault::Host { place }, "{url}");
    }
    for url in ["postgres://h1,h2,h3/cc?port=1,2", "postgres://h1/cc?port=x", "postgres://h1/cc?port=0"] {
        assert_eq!(fault(url), Fault::Ports, "{url}");
    }
    for url in ["postgres:///cc?host=/run/pg,h2", "postgres://%2frun,h2/cc", "mysql://h1,h2/cc?socket=/run/my.sock"] {
        assert_eq!(fault(url), Fault::Mixed, "{url}");
    }
}

#[test]
fn one_name_in_a_certificate_is_not_looked_for_on_several_hosts() {
    for (url, instead) in [
        ("postgres://h1,h2/cc?sslmode=verify-full", "verify-ca"),
        ("postgres://h1,h2/cc?ssl-mode=VERIFY-FULL", "verify-ca"),
        ("mysql://h1,h2/cc?ssl-mode=VERIFY_IDENTITY", "verify_ca"),
    ] {
        let said = fault(url).to_string();
        assert!(said.contains(instead) && said.contains("one name"), "{url}: {said}");
    }
    assert_eq!(fault("mysql://[::1]/cc?sslmode=verify_identity"), Fault::NoName);
    for url in ["postgres://db:1,db:2/cc?sslmode=verify-full", "mysql://h1/cc?sslmode=verify_identity"] {
        assert!(Server::parse(url, None).is_ok(), "{url}");
    }
}

#[test]
fn no_refusal_shows_a_piece_of_a_password() {
    for url in [
        "postgres://u:S3CRET?x@db/cc",
        "postgres://u:5432?S3CRET@db/cc",
        "postgres://u:pw/S3CRET@db/cc?S3CRET@x=1",
        "mysql://u:S3CRET#1@db/cc",
        "postgres://db/cc?S3CRET%40w=1",
        "postgres://db/cc?pasword=S3CRET",
        "postgres://u:p@h:S3CRET/cc",
    ] {
        let said = format!("{0} {0:?}", fault(url));
        assert!(!said.contains("S3CRET"), "{url}: {said}");
    }
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in any::<String>(), rest in "[a-z0-9@:/?#,\\[\\]%=&.]{0,40}") {
        for url in [text.clone(), format!("postgres://{text}"), format!("mysql://{rest}"), format!("postgres://{rest}")] {
            if let Ok(server) = Server::parse(&url, None) {
                // What the driver is told is a URL again, and names the same.
                let again = Server::parse(&server.url(), None).unwrap();
                prop_assert_eq!(again.hosts().first(), server.hosts().first(), "{}", url);
                drop(server.url_through(Path::new("/d")));
            }
        }
    }

    #[test]
    fn a_list_of_hosts_comes_out_as_it_went_in(list in prop::collection::vec(("[a-z][a-z0-9.-]{0,8}", 1_u16..), 1..5)) {
        let list: Vec<String> = list.into_iter().map(|(name, port)| format!("{name}:{port}")).collect();
        for scheme in ["postgres", "mysql"] {
            prop_assert_eq!(hosts(&format!("{scheme}://u:p@{}/cc", list.join(","))), list.clone());
        }
    }
}
