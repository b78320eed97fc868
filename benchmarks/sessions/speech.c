/* What a session says and hears: commands in their order, DATA within the credit. */

#define _GNU_SOURCE
#include "sessions.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>

struct session *waiting;

void say(struct session *session, const char *command, size_t length)
{
	unsigned char *at = session->said + session->said_length;

	if (session->said_length + length + HEADER > sizeof session->said)
		give_up("commands pile up");
	put_header(at, length + HEADER);
	memcpy(at + HEADER, command, length);
	session->said_length += length + HEADER;
}

static void say_ssid(struct session *session)
{
	char command[80];
	int length = snprintf(command, sizeof command, "X5%-25s%-8s%05dB%cNN%03dN    %-8s\r",
		session->station ? "O0013000001MUSTER" : "O0013000001ACME", "", option.buffer,
		strcmp(option.layout, "compressed") ? 'N' : 'Y', option.credit, "");

	say(session, command, (size_t)length);
}

static void say_sfid(struct session *session)
{
	static uint64_t number;
	char command[240];
	bool fixed = !strcmp(option.layout, "f80");
	uint64_t blocks = (option.size + 1023) / 1024;
	const char *from = session->station ? "O0013000001MUSTER" : "O0013000001ACME";
	const char *to = session->station ? "O0013000001ACME" : "O0013000001MUSTER";
	int length = snprintf(command, sizeof command,
		"HLOAD%-22" PRIu64 "   202611201200000001%-8s%-25s%-25s%c%05d%013" PRIu64 "%013" PRIu64
		"%017d00000" "0N000",
		number++, "", to, from, fixed ? 'F' : strcmp(option.layout, "u") ? 'V' : 'U',
		fixed ? 80 : strcmp(option.layout, "u") ? 200 : 0, blocks, blocks, 0);

	say(session, command, (size_t)length);
	session->stage = WAITS_SFPA;
	session->asked = now();
	if (!counts.first_offer)
		counts.first_offer = session->asked;
}

static void say_efid(struct session *session)
{
	char command[64];
	bool has_records = strcmp(option.layout, "u") != 0;
	int length = snprintf(command, sizeof command, "T%017" PRIu64 "%017" PRIu64, has_records ? session->records : 0,
		session->units);

	say(session, command, (size_t)length);
	session->stage = WAITS_EFPA;
	session->asked = now();
}

static void keep(struct samples *samples, uint64_t since, uint64_t until)
{
	if (!samples->values)
		samples->values = memory(SAMPLES * sizeof *samples->values);
	if (samples->count < SAMPLES)
		samples->values[samples->count++] = until - since;
}

/* A Speaker without a file under way: offer the next one, give the turn away, rest, or end. */
void go_on(struct session *session)
{
	bool late = session->deadline && now() > session->deadline;
	bool offers = session->station == option.down && session->files_done < option.files && !(late && session->files_done);

	if (offers) {
		session->files_done++;
		say_sfid(session);
	} else if (!session->station && option.down && !session->turned) {
		session->turned = true;
		say(session, "R", 1);
		session->stage = LISTENS;
	} else if (!session->station && option.idle) {
		session->stage = RESTS;
		counts.resting++;
	} else if (session->station) {
		say(session, "R", 1);
		session->stage = LISTENS;
	} else {
		say(session, "F00000\r", 7);
		session->stage = WAITS_END;
	}
}

static void begin_data(struct session *session)
{
	session->stage = SENDS;
	session->credit_left = option.credit;
	session->full_left = full_blocks;
	session->tail_left = option.size > 0;
	session->units = session->records = 0;
	session->block = NULL;
}

/* Take a command; false if it may not come now. */
static bool take(struct session *session, const unsigned char *command, size_t length)
{
	uint64_t moment;

	switch (command[0]) {
	case 'I':
		if (session->stage != WAITS_SSRM || length != 19)
			return false;
		say_ssid(session);
		session->stage = WAITS_SSID;
		return true;
	case 'X':
		if (session->stage != WAITS_SSID || length != 61)
			return false;
		moment = now();
		if (option.seconds > 0)
			session->deadline = moment + (uint64_t)(option.seconds * 1e9);
		if (session->station) {
			say_ssid(session);
			session->stage = LISTENS;
			return true;
		}
		keep(&counts.setup, session->called, moment);
		if (option.together) {
			session->stage = RESTS;
			session->next = waiting;
			waiting = session;
			counts.resting++;
		} else {
			go_on(session);
		}
		return true;
	case 'H':
		if (session->stage != LISTENS)
			return false;
		if (!counts.first_offer)
			counts.first_offer = now();
		say(session, "200000000000000000", 18);
		session->data_heard = 0;
		return true;
	case '2':
		if (session->stage != WAITS_SFPA)
			return false;
		keep(&counts.start_answer, session->asked, now());
		begin_data(session);
		return true;
	case 'C':
		counts.confirmed += (uint64_t)option.credit * full[0].length;
		if (session->stage == SENDS)
			session->credit_left = option.credit;
		return session->stage == SENDS || session->stage == WAITS_EFPA;
	case 'T':
		if (session->stage != LISTENS)
			return false;
		counts.files++;
		counts.last_answer = now();
		say(session, "4N", 2);
		return true;
	case '4':
		if (session->stage != WAITS_EFPA)
			return false;
		counts.files++;
		counts.last_answer = now();
		keep(&counts.end_answer, session->asked, counts.last_answer);
		go_on(session);
		return true;
	case 'R':
		if (session->stage != LISTENS)
			return false;
		go_on(session);
		return true;
	case 'F':
		session->stage = WAITS_END;
		return !memcmp(command, "F00", length < 3 ? length : 3);
	default:
		return false;
	}
}

/* Take what came; false if it is wrong. */
bool hear(struct session *session, const unsigned char *from, size_t length)
{
	while (length) {
		size_t whole, count;

		if (session->skip) {
			count = session->skip < length ? session->skip : length;
			session->skip -= count;
			from += count;
			length -= count;
			if (option.down != session->station)
				counts.octets += count;
			continue;
		}
		/* As far as the command's first octet, which tells DATA from all others. */
		count = session->heard_length <= HEADER ? HEADER + 1 - session->heard_length : 0;
		if (count) {
			count = count < length ? count : length;
			memcpy(session->heard + session->heard_length, from, count);
			session->heard_length += count;
			from += count;
			length -= count;
			if (session->heard_length <= HEADER)
				return true;
		}
		whole = (size_t)session->heard[1] << 16 | (size_t)session->heard[2] << 8 | session->heard[3];
		if (session->heard[0] != 0x10 || whole <= HEADER) {
			complain("%s%d", "a wrong header in stage ", (int)session->stage);
			return false;
		}
		if (session->heard[HEADER] == 'D' && session->stage == LISTENS) {
			if (whole > (size_t)option.buffer + HEADER)
				return false;
			session->skip = whole - HEADER - 1;
			session->heard_length = 0;
			if (option.down != session->station)
				counts.octets += HEADER + 1;
			if (++session->data_heard == option.credit) {
				session->data_heard = 0;
				say(session, "C  ", 3);
			}
			continue;
		}
		if (whole > sizeof session->heard)
			return false;
		count = whole - session->heard_length;
		count = count < length ? count : length;
		memcpy(session->heard + session->heard_length, from, count);
		session->heard_length += count;
		from += count;
		length -= count;
		if (session->heard_length < whole)
			return true;
		session->heard_length = 0;
		if (!take(session, session->heard + HEADER, whole - HEADER)) {
			complain("%.20s in stage %d", (const char *)session->heard + HEADER, (int)session->stage);
			return false;
		}
	}
	return true;
}

static bool next_block(struct session *session)
{
	if (session->deadline && session->full_left && now() > session->deadline)
		session->full_left = 0;
	if (session->full_left) {
		session->full_left--;
		session->block = &full[session->block_number++ % (uint64_t)variants];
	} else if (session->tail_left) {
		session->tail_left = false;
		session->block = &tail;
	} else {
		return false;
	}
	session->block_done = 0;
	session->units += session->block->units;
	session->records += session->block->records;
	session->credit_left--;
	return true;
}

/* Gather blocks that go out in one write, if a burst is asked for. */
static size_t gather(struct session *session, unsigned char *into)
{
	size_t length = 0;

	while (session->credit_left > 0 && length < option.burst && next_block(session)) {
		if (length + session->block->length > 2 * ROOM)
			give_up("a burst is too long");
		memcpy(into + length, session->block->octets, session->block->length);
		length += session->block->length;
	}
	session->block = NULL;
	return length;
}

/* Send what there is to send; false if the connection is gone. */
bool speak(struct session *session)
{
	static unsigned char burst[2 * ROOM];
	size_t sent = 0;
	ssize_t count;

	session->writes_wanted = false;
	for (;;) {
		while (session->said_done < session->said_length) {
			count = put(session, session->said + session->said_done, session->said_length - session->said_done);
			if (count < 0)
				return false;
			session->said_done += (size_t)count;
			if (!count) {
				session->writes_wanted = true;
				return true;
			}
		}
		session->said_done = session->said_length = 0;
		if (session->stage != SENDS)
			return true;
		if (!session->block) {
			if (!session->full_left && !session->tail_left) {
				say_efid(session);
				continue;
			}
			if (session->credit_left <= 0)
				return true;
			if (sent > TURN_MOST) {
				session->writes_wanted = true;
				return true;
			}
			if (option.burst) {
				size_t length = gather(session, burst), done = 0;
				struct pollfd ready = { .fd = session->descriptor, .events = POLLOUT };

				/* A burst goes out as a whole: it is a benchmark of one session, which may wait. */
				while (done < length) {
					count = put(session, burst + done, length - done);
					if (count < 0)
						return false;
					if (!count)
						poll(&ready, 1, 1000);
					done += (size_t)count;
				}
				counts.octets += length;
				sent += length;
				continue;
			}
			if (!next_block(session))
				continue;
		}
		count = put(session, session->block->octets + session->block_done,
			session->block->length - session->block_done);
		if (count < 0)
			return false;
		if (!count) {
			session->writes_wanted = true;
			return true;
		}
		counts.octets += (uint64_t)count;
		sent += (size_t)count;
		session->block_done += (size_t)count;
		if (session->block_done == session->block->length)
			session->block = NULL;
	}
}
