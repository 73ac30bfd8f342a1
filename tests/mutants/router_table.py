"""The safeguards of the router. A mutant: its name, its file, pairs of (search, replace), each search matching once, and
the tests that are asked first; where those stay green, all the others are asked."""

FOLDER = "router"

VERDICTS = ["--lib", "forward::", "--test", "verdicts"]
DATA = ["--test", "hostile_data"]
WIRE = ["--lib", "dimse::", "--test", "hostile_wire"]
DISK = ["--test", "full_disk", "--test", "failed_sync"]
DUPLICATES = ["--test", "duplicates"]
ROUTES = ["--lib", "route::", "--test", "routes"]
PIXELS = ["--lib", "transcode::", "--test", "pixels"]
TLS = ["--lib", "tls::", "--test", "tls"]
PINS = ["--test", "tunnel_pins", "--test", "tls"]
TUNNEL = ["--lib", "tunnel::", "--test", "tunnel", "--test", "tunnel_lies"]
PUSH = ["--lib", "tunnel::", "--test", "tunnel_down", "--test", "tunnel_down_lies"]
AFAR = ["--lib", "config::", "--test", "remote_configuration"]
STOW = ["--lib", "dicomweb", "--test", "dicomweb"]
ADMIN = ["--lib", "admin::", "--test", "admin"]

MUTANTS = [
    # Receiving: what is answered.
    ("a refusal is answered with Success", "receive/store.rs",
     [("Err(Refusal::Status(status, comment)) => (status, comment, Fate::Refused),",
       "Err(Refusal::Status(_, comment)) => (Status::SUCCESS, comment, Fate::Refused),")], DATA),
    ("a failed sync is answered with Success", "receive/store.rs",
     [("tracing::error!(%error, \"Cannot make an instance durable.\");\n    Refusal::Status(Status::OUT_OF_RESOURCES,",
       "tracing::error!(%error, \"Cannot make an instance durable.\");\n    Refusal::Status(Status::SUCCESS,")], DISK),
    ("a full disk is answered with Success", "receive/store.rs",
     [("tracing::error!(%error, \"Cannot write an instance.\");\n    Refusal::Status(Status::OUT_OF_RESOURCES,",
       "tracing::error!(%error, \"Cannot write an instance.\");\n    Refusal::Status(Status::SUCCESS,")], DISK),
    ("a truncated data set is stored", "receive/store.rs",
     [("Structure::Truncated { at } => {\n            return Err",
       "Structure::Truncated { at } if at == u64::MAX => {\n            return Err"),
      ("Structure::Sound | Structure::Odd { .. } | Structure::NotWalked => {}\n    }\n    let differs",
       "_ => {}\n    }\n    let differs")], DATA),
    ("another SOP Instance UID in the data set is stored", "receive/store.rs",
     [("if differs(Attribute::SopInstanceUid, &announced.sop_instance) {",
       "if differs(Attribute::SopInstanceUid, &announced.sop_instance) && scan.length == 0 {")], DATA),
    ("one UID of two patients is not noticed", "receive/store.rs",
     [("for attribute in [Attribute::PatientId, Attribute::IssuerOfPatientId, Attribute::StudyInstanceUid] {",
       "for attribute in [Attribute::IssuerOfPatientId] {")], DUPLICATES),
    ("what nobody has seen the end of is sent", "receive/store.rs",
     [("reason @ Oddity::InflateLimit, .. } => Some(reason.to_string()),",
       "reason @ Oddity::InflateLimit, .. } => Some(reason.to_string()).filter(String::is_empty),")], DATA),
    ("a full or failed spool admits associations", "receive/session.rs",
     [("Ok(Room::Full | Room::Poisoned(_)) | Err(_) => Admission::Congested,",
       "Ok(Room::Full | Room::Poisoned(_)) | Err(_) => Admission::Open,")], DATA + DISK),
    ("no limit for an address", "receive/gate.rs",
     [("all < listener.max_associations && *here < limit.max;", "all < listener.max_associations;")], DATA),

    # The wire.
    ("a response to another message is believed", "dimse/requestor.rs",
     [("if response.message_id != message_id {", "if response.message_id != message_id && message_id == 0 {")], WIRE),
    ("a response about another instance is believed", "dimse/requestor.rs",
     [("if !response.sop_instance.is_empty() && response.sop_instance != request.sop_instance {",
       "if false {")], WIRE),
    ("a response without a status is Success", "dimse/command.rs",
     [("[Some(status)] => Ok(Status(*status)),", "[] => Ok(Status(0)),\n            [Some(status)] => Ok(Status(*status)),")],
     WIRE),

    # Routing.
    ("what no rule matches is dropped", "route/decide.rs",
     [("OnNoRoute::Hold => Outcome::Owed(vec![held_nowhere(\"no route\".to_owned())]),",
       "OnNoRoute::Hold => Outcome::Dropped { why: \"no route\".to_owned() },")], ROUTES),
    ("a rule's hold is sent", "route/decide.rs",
     [(".find(holding).map(|rule| held_by(rule));", ".find(holding).map(|rule| held_by(rule)).filter(String::is_empty);")],
     ROUTES),
    ("a drop beside a rule that sends wins", "route/decide.rs",
     [("Some(drop) if others.is_empty() => {", "Some(drop) => {")], ROUTES),
    ("what cannot be read is dropped", "route/decide.rs",
     [("if facts.header == Header::Partial && !rule.when.tags().is_empty() {",
       "if facts.header == Header::Partial && rule.when.tags().len() > 1000 {")], ROUTES),

    # The verdict table and the circuit.
    ("verdict: any status is a delivery", "forward/verdict.rs",
     [("_ => Verdict::Refused(why),", "_ => Verdict::Delivered { detail: why, is_warning: true },")], VERDICTS),
    ("verdict: A9xx is a delivery with a warning", "forward/verdict.rs",
     [("0xB000..=0xBFFF =>", "0xA900..=0xBFFF =>")], VERDICTS),
    ("verdict: out of resources is a refusal", "forward/verdict.rs",
     [("0x0213 | 0xA700..=0xA7FF => Verdict::Retry(why),", "0x0213 => Verdict::Retry(why),")], VERDICTS),
    ("verdict: a duplicate of other content is a delivery", "forward/verdict.rs",
     [("0x0111 if history.delivered_before || !history.other_content => {", "0x0111 if history != History::default() || !history.other_content => {")],
     VERDICTS),
    ("verdict: not authorised holds the instance", "forward/verdict.rs",
     [("0x0124 => Verdict::Pause(why),", "0x0124 => Verdict::Refused(why),")], VERDICTS),
    ("verdict: a permanent rejection holds the instance", "forward/verdict.rs",
     [("End::Rejected(rejection) => Verdict::Pause(rejected(&rejection)),",
       "End::Rejected(rejection) => Verdict::Refused(rejected(&rejection)),")], VERDICTS),
    ("verdict: an abort is a delivery", "forward/verdict.rs",
     [("End::Aborted { what, .. } | End::Unclear { what, .. } => Verdict::Retry(what.into()),",
       "End::Unclear { what, .. } => Verdict::Retry(what.into()),\n        "
       "End::Aborted { what, .. } => Verdict::Delivered { detail: what.into(), is_warning: true },")], VERDICTS),
    ("verdict: our own unreadable copy is tried for ever", "forward/verdict.rs",
     [("End::Unreadable(why) => Verdict::Hold(Hold::new(HoldKind::Damage, why)),",
       "End::Unreadable(why) => Verdict::Retry(why.into()),")], ["--lib", "forward::", "--test", "outage"]),
    ("an ill destination holds what it refuses", "forward/circuit.rs",
     [("if self.health == Health::Well {\n            return self.hold_while_well",
       "if self.health != Health::Paused {\n            return self.hold_while_well")], VERDICTS),
    ("a whole night's work is held", "forward/circuit.rs",
     [("self.consecutive_holds >= HOLDS_UNTIL_PAUSED)", "self.consecutive_holds >= HOLDS_UNTIL_PAUSED * 1000)")], VERDICTS),
    ("an instance that ends associations is tried for ever", "forward/verdict.rs",
     [("if times >= ABORTS_UNTIL_REFUSED =>", "if times >= ABORTS_UNTIL_REFUSED * 1000 =>")], VERDICTS),
    ("one instance out of luck stops the rest", "forward/circuit.rs",
     [("if is_alone && self.health == Health::Well {", "if is_alone && self.health == Health::Paused {")], VERDICTS),

    # The folder.
    ("the folder overwrites", "forward/folder.rs",
     [("match platform::rename_without_replacing(part, &path) {", "match fs::rename(part, &path) {")], DUPLICATES),
    ("other content in the folder counts as this", "forward/folder.rs",
     [("Ok(digest == *expected)", "Ok(digest.len() == expected.len())")], DUPLICATES),

    # Pixels.
    ("a copy in the cache is believed", "transcode/cache/file.rs",
     [("Some(sum) if *sum == crc32c::crc32c(buffer) => Ok(()),", "Some(_) => Ok(()),")], PIXELS),
    ("an encoded frame is not compared", "transcode/encode.rs",
     [("if self.compare == Compare::Yes {\n            jpeg_lossless::verify_frame",
       "if self.compare != Compare::Yes {\n            jpeg_lossless::verify_frame")], PIXELS),
    ("a region with colour may become grey", "transcode/veto.rs",
     [("if has_region_of_colour(values)? {", "if has_region_of_colour(values)? && MODES_WITH_COLOUR == 0 {")], PIXELS),
    ("what lost a little may lose its colour", "transcode/grey.rs",
     [("(Loss::Stored, LossySource::Keep) => Ok(Grey::Within(0)),",
       "(Loss::Stored, LossySource::Keep) => Ok(Grey::Within(GREY_AFTER_LOSS)),")], PIXELS),

    # TLS.
    ("every key is pinned", "tls/verify.rs",
     [("if pins.contains(&leaf.pin) {\n        Ok(())", "if pins.len() < 1000 {\n        Ok(())")], TLS),
    ("an expired pinned certificate is believed", "tls/verify.rs",
     [("if now > leaf.not_after.unix_timestamp() {", "if now > leaf.not_after.unix_timestamp() && now == 0 {")], TLS),
    ("a handshake's signature is not looked at", "tls/verify.rs",
     [("            Err(_) => return Err(CertificateError::BadSignature.into()),\n        }\n    }\n    Err(CertificateError::BadSignature.into())",
       "            Err(_) => return Ok(HandshakeSignatureValid::assertion()),\n        }\n    }\n    Err(CertificateError::BadSignature.into())")], TLS),
    ("the tunnel believes any authority's key", "tls/verify.rs",
     [("by_authority(ca)?;\n                pinned(&leaf, pins)?;", "by_authority(ca)?;\n                let _ = pins;")], PINS),
    ("the tunnel believes a pinned key of nobody's", "tls/verify.rs",
     [("by_authority(ca)?;\n                pinned(&leaf, pins)?;", "let _ = ca;\n                pinned(&leaf, pins)?;")], PINS),
    ("a bound AE title is anybody's", "tls/bind.rs",
     [("None if self.not.contains(title) =>", "None if self.not.len() > 1000 =>")], TLS),

    # The tunnel.
    ("the gateway does not compare the announced hash", "receive/store.rs",
     [("if sha256.is_some_and(|announced| announced != staged.sha256()) {",
       "if sha256.is_some_and(|announced| announced.len() != staged.sha256().len()) {")], TUNNEL),
    ("the gateway has what it cannot read", "tunnel/upload/receive.rs",
     [("queue.open_blob(&instance).is_ok_and(|blob| blob.verify().is_ok())",
       "queue.open_blob(&instance).is_ok()")], TUNNEL),
    ("the gateway has what another site sent", "tunnel/upload/receive.rs",
     [("if arrival.site.as_ref() != Some(&site) {", "if arrival.site.is_none() && !site.is_empty() {")], TUNNEL),
    ("the link believes another hash", "tunnel/upload/send.rs",
     [("Answer::Stored { sha256 } if sha256 == offer.sha256 => Ok(Sent::Stored),",
       "Answer::Stored { .. } => Ok(Sent::Stored),"),
      ("        Answer::Stored { .. } => Err(SendError::Untrue(\"it stored other bytes\".to_owned())),\n", "")], TUNNEL),
    ("another upload's number counts as this one's", "tunnel/upload/receive.rs",
     [("if arrival.upload.as_ref() == Some(&number) {", "if arrival.upload.is_some() && !number.is_empty() {")], TUNNEL),
    ("the link believes what came before its bytes went", "tunnel/upload/send.rs",
     [("Answer::Stored { .. } if !stream.has_ended() => {", "Answer::Stored { .. } if !stream.has_ended() && carried == u64::MAX => {")],
     TUNNEL),
    ("a wrong code opens a session", "tunnel/session/opening.rs",
     [("if !self.key.accepts(&greeting, &hello, &welcome.proof) {",
       "if !self.key.accepts(&greeting, &hello, &welcome.proof) && welcome.keepalive == 0 {")], TUNNEL),
    ("other bytes reach the PACS behind a link", "tunnel/push/source.rs",
     [("self.is_whole = hash == self.offer.sha256;", "self.is_whole = hash.len() == self.offer.sha256.len();")], PUSH),
    ("everything may be set from afar", "config/afar.rs",
     [("if !allowed(section).contains(&name) {", "if !allowed(section).contains(&name) && name.is_empty() {")], AFAR),
    ("a link stays with what cut it off", "tunnel/remote/state.rs",
     [("(Event::Passed, Some(candidate)) if now >= candidate.since + probation => {",
       "(Event::Passed, Some(candidate)) if now >= candidate.since + probation * 1000 => {")],
     ["--lib", "tunnel::remote", "--test", "remote_configuration"]),

    # DICOMweb and the API.
    ("a failed instance counts as stored", "forward/dicomweb/response.rs",
     [("if let Some(entry) = payload.failed.iter().find(of) {",
       "if let Some(entry) = payload.failed.iter().find(of).filter(|_| payload.stored.is_empty()) {")], STOW),
    ("an answer that names nothing is a success", "forward/dicomweb/response.rs",
     [("        _ => Said::Silent(silent.clone()),", "        _ => Said::Stored(Status::SUCCESS),")], STOW),
    ("a change needs no token", "admin/guard.rs",
     [("Some(given) if token.matches(given.trim()) => Ok(()),", "Some(_) => Ok(()),"),
      ("token: &Token) -> Result<(), Denied> {\n    let given", "_: &Token) -> Result<(), Denied> {\n    let given")], ADMIN),
    ("any page's host is ours", "admin/guard.rs",
     [("    is_known && port == Some(address.port())", "    is_known || port == Some(address.port())")], ADMIN),
]
