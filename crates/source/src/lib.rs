//! Git and other sources, mirrors, the artifact store and its HTTP server.
