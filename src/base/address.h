// host:port, as settings and join tokens write it: "silo.example:7423", "127.0.0.1:0", "[::1]:7423".
#ifndef CARREL_BASE_ADDRESS_H
#define CARREL_BASE_ADDRESS_H

#include "base/status.h"

#include <stdbool.h>

enum { CR_HOST_SIZE = 254, CR_ADDRESS_SIZE = 264 }; // with their zeros

struct cr_address {
    char host[CR_HOST_SIZE]; // without brackets
    unsigned port;           // 0 to 65535
};

// What is no address is CR_INVALID.
enum cr_status cr_address_parse(const char *text, struct cr_address *out);
void cr_address_format(const struct cr_address *address, char out[CR_ADDRESS_SIZE]);

// Looks the host up, for a stream socket: `listens`, or connects. 0 and *out, for freeaddrinfo, or what
// gai_strerror tells of.
struct addrinfo;
int cr_address_resolve(const struct cr_address *address, bool listens, struct addrinfo **out);

// True for the addresses that only a listener can use: 0.0.0.0 and ::.
bool cr_address_is_wildcard(const struct cr_address *address);

// True for "unix:PATH", a socket of this machine (socket.h).
bool cr_address_is_unix(const char *text);

#endif
