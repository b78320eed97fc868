/* What the parts of the load generator share; sessions.c says what it is. */

#ifndef SESSIONS_H
#define SESSIONS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define HEADER 4
#define ROOM (256 * 1024)
#define COMMAND_MOST 4096
#define VARIANTS 16
#define TURN_MOST (1024 * 1024)
#define SAMPLES 1000000

/* What a session waits for, or does. */
enum stage { CONNECTING, WAITS_SSRM, WAITS_SSID, LISTENS, WAITS_SFPA, SENDS, WAITS_EFPA, RESTS, WAITS_END };

/* One framed DATA buffer, and what it counts for in EFID. */
struct block {
	unsigned char *octets;
	size_t length;
	uint64_t units, records;
};

struct session {
	int descriptor;
	SSL *tls;
	enum stage stage;
	bool station, writes_wanted, turned;
	uint32_t watched;
	unsigned char said[1024]; /* commands that are to be sent */
	size_t said_length, said_done;
	unsigned char heard[COMMAND_MOST]; /* a command that is not complete yet */
	size_t heard_length, skip;
	int files_done, data_heard;
	uint64_t full_left, block_number; /* DATA that is to be sent */
	bool tail_left;
	int credit_left;
	const struct block *block;
	size_t block_done;
	uint64_t units, records;
	uint64_t called, asked, deadline; /* nanoseconds */
	struct session *next;
};

struct samples {
	const char *name;
	uint64_t *values;
	size_t count;
};

struct options {
	bool station, plain, down, idle, together, quiet;
	const char *host, *certificate, *key, *authority, *name, *layout;
	int port, buffer, credit, files, parallel, shaking;
	size_t burst;
	uint64_t size, sessions;
	double seconds;
};

extern struct options option;

/* What was done so far, and when the first file was offered and the last one answered. */
struct counts {
	uint64_t started, ended, failed, files, octets, confirmed, first_offer, last_answer;
	int open, resting;
	struct samples setup, start_answer, end_answer;
};

extern struct counts counts;

/* content.c: DATA buffers that are made once. */
extern struct block full[VARIANTS], tail;
extern int variants;
extern uint64_t full_blocks;
void make_content(void);
void put_header(unsigned char *at, size_t length);

/* speech.c: what a session says and hears; those that wait for the others. */
extern struct session *waiting;
void say(struct session *session, const char *command, size_t length);
bool hear(struct session *session, const unsigned char *from, size_t length);
bool speak(struct session *session);
void go_on(struct session *session);

/* options.c: what option is. */
void read_options(int count, char **arguments);

/* sessions.c */
uint64_t now(void);
void give_up(const char *what);
void *memory(size_t length);
void complain(const char *format, const char *detail, int number);
ssize_t put(struct session *session, const unsigned char *from, size_t length);

#endif
