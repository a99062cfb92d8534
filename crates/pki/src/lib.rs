//! The certificate authority: root, intermediate, server and device certificates.
