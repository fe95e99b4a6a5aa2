//! As much of HTTP/1.1 (RFC 9112) as the hub on loopback speaks: one request and one answer a connection.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;

/// A request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    pub authorization: Option<String>,
    /// First byte and last byte, where a last one was asked for.
    pub range: Option<(usize, Option<usize>)>,
}

/// The head of an answer with a body of `length` bytes.
pub fn head(status: u16, fields: &[(&str, String)], length: usize) -> String {
    let mut head = format!("HTTP/1.1 {status} Test\r\nconnection: close\r\n");
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    head + &format!("content-length: {length}\r\n\r\n")
}

/// `None` where the client only looked whether somebody is there.
pub fn read_request(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut lines = BufReader::new(stream).lines();
    let Some(first) = lines.next().transpose()? else {
        return Ok(None);
    };
    let path = first.split(' ').nth(1).unwrap_or_default();
    let mut request = Request {
        path: path.into(),
        authorization: None,
        range: None,
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match name.to_lowercase().as_str() {
            "authorization" => request.authorization = Some(value.trim().into()),
            "range" => request.range = parse_range(value.trim()),
            _ => {}
        }
    }
    Ok(Some(request))
}

fn parse_range(value: &str) -> Option<(usize, Option<usize>)> {
    let (start, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    Some((start.parse().ok()?, last.parse().ok()))
}
