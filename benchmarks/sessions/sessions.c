/* OFTP2 sessions as load: many partners in one process, or the station that answers them (RFC 5024).
 *
 * One thread, epoll, OpenSSL. A partner calls with TLS and its certificate, or plainly; the station listens without
 * TLS, as behind a proxy. Both speak the protocol as a good peer does and check what they hear as far as a peer has to:
 * headers, commands in their order, credit. Content is noise of a fixed seed. See usage() for the command line.
 *
 * partners prints one line of JSON when all sessions have ended; times are microseconds.
 */

#define _GNU_SOURCE
#include "sessions.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct counts counts = { .setup = { .name = "setup" }, .start_answer = { .name = "sfpa" },
	.end_answer = { .name = "efpa" } };

static SSL_CTX *context;
static int events, listening = -1;
static unsigned char room[ROOM];
static struct session *spare;
static volatile sig_atomic_t stopped;
static bool no_more;

uint64_t now(void)
{
	struct timespec moment;

	clock_gettime(CLOCK_MONOTONIC, &moment);
	return (uint64_t)moment.tv_sec * 1000000000u + (uint64_t)moment.tv_nsec;
}

void give_up(const char *what)
{
	fprintf(stderr, "sessions: %s: %s\n", what, errno ? strerror(errno) : "failed");
	ERR_print_errors_fp(stderr);
	exit(2);
}

void *memory(size_t length)
{
	void *found = calloc(1, length);

	if (!found)
		give_up("memory");
	return found;
}

void complain(const char *format, const char *detail, int number)
{
	static int complaints;

	if (!option.quiet && complaints++ < 5) {
		fprintf(stderr, "sessions: ");
		fprintf(stderr, format, detail, number);
		fputc('\n', stderr);
	}
}

/* Octets of one connection. */

static ssize_t get(struct session *session)
{
	ssize_t count;

	if (!session->tls) {
		count = recv(session->descriptor, room, sizeof room, 0);
		if (count > 0)
			return count;
		return count < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
	}
	ERR_clear_error();
	count = SSL_read(session->tls, room, sizeof room);
	if (count > 0)
		return count;
	switch (SSL_get_error(session->tls, (int)count)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	default:
		return -1;
	}
}

ssize_t put(struct session *session, const unsigned char *from, size_t length)
{
	ssize_t count;

	if (!session->tls) {
		count = send(session->descriptor, from, length, MSG_NOSIGNAL);
		if (count > 0)
			return count;
		return count < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
	}
	ERR_clear_error();
	count = SSL_write(session->tls, from, (int)length);
	if (count > 0)
		return count;
	switch (SSL_get_error(session->tls, (int)count)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	default:
		return -1;
	}
}

static void watch(struct session *session)
{
	uint32_t wanted = EPOLLIN | (session->writes_wanted ? EPOLLOUT : 0u);
	struct epoll_event event = { .events = wanted, .data.ptr = session };

	if (wanted == session->watched)
		return;
	if (epoll_ctl(events, session->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, session->descriptor, &event))
		give_up("epoll_ctl");
	session->watched = wanted;
}

/* Sessions. */

static struct session *make_session(int descriptor)
{
	struct session *session = spare;
	int on = 1;

	if (session)
		spare = session->next;
	else
		session = memory(sizeof *session);
	memset(session, 0, sizeof *session);
	session->descriptor = descriptor;
	session->stage = CONNECTING;
	session->writes_wanted = true;
	setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	counts.open++;
	return session;
}

static void call(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)option.port) };
	int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct session *session;

	if (descriptor < 0 || inet_pton(AF_INET, option.host, &address.sin_addr) != 1)
		give_up("socket");
	counts.started++;
	session = make_session(descriptor);
	session->called = now();
	if (connect(descriptor, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
		give_up("connect");
	if (!option.plain) {
		session->tls = SSL_new(context);
		if (!session->tls || SSL_set_fd(session->tls, descriptor) != 1)
			give_up("TLS");
		SSL_set_connect_state(session->tls);
		if (option.name)
			SSL_set_tlsext_host_name(session->tls, option.name);
	}
	watch(session);
}

static void end(struct session *session, bool good)
{
	if (option.together && session->stage == RESTS)
		give_up("a session ended while it waited for the others");
	if (session->tls) {
		if (good)
			SSL_shutdown(session->tls);
		SSL_free(session->tls);
	}
	close(session->descriptor);
	counts.open--;
	session->next = spare;
	spare = session;
	if (session->station)
		return;
	if (good)
		counts.ended++;
	else
		counts.failed++;
	if (!no_more && !option.idle && !option.together && counts.started < option.sessions)
		call();
}

/* Go on with the handshake; 1: it is over, 0: it goes on, -1: it failed. */
static int shake(struct session *session)
{
	int result, error = 0;
	socklen_t length = sizeof error;

	if (!session->tls) {
		getsockopt(session->descriptor, SOL_SOCKET, SO_ERROR, &error, &length);
		return error ? -1 : 1;
	}
	ERR_clear_error();
	result = SSL_do_handshake(session->tls);
	if (result == 1)
		return 1;
	switch (SSL_get_error(session->tls, result)) {
	case SSL_ERROR_WANT_READ:
		session->writes_wanted = false;
		return 0;
	case SSL_ERROR_WANT_WRITE:
		session->writes_wanted = true;
		return 0;
	default:
		complain("handshake: %s (%d)", ERR_reason_error_string(ERR_peek_error()), errno);
		return -1;
	}
}

static void serve(struct session *session, uint32_t happened)
{
	ssize_t count;

	if (session->stage == CONNECTING) {
		int done = shake(session);

		if (done < 0) {
			end(session, false);
			return;
		}
		if (!done) {
			watch(session);
			return;
		}
		session->stage = WAITS_SSRM;
		if (session->station) {
			say(session, "IODETTE FTP READY \r", 19);
			session->stage = WAITS_SSID;
		}
	}
	if (happened & (EPOLLIN | EPOLLHUP | EPOLLERR) || session->tls) {
		/* Twice at most without TLS: level-triggered events come again. With it, all that OpenSSL holds. */
		for (int turn = 0; turn < 2 || (session->tls && SSL_pending(session->tls)); turn++) {
			count = get(session);
			if (count < 0) {
				if (session->stage != WAITS_END)
					complain("%s%d", "the connection ended in stage ", (int)session->stage);
				end(session, session->stage == WAITS_END);
				return;
			}
			if (!count)
				break;
			if (!hear(session, room, (size_t)count)) {
				end(session, false);
				return;
			}
			if (session->station && session->stage == WAITS_END) {
				end(session, true);
				return;
			}
		}
	}
	if (!speak(session)) {
		end(session, session->stage == WAITS_END);
		return;
	}
	watch(session);
}

static void admit(void)
{
	for (int number = 0; number < 64; number++) {
		int descriptor = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct session *session;

		if (descriptor < 0)
			return;
		session = make_session(descriptor);
		session->station = true;
		watch(session);
	}
}

/* The process. */

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

static int by_size(const void *left, const void *right)
{
	uint64_t one = *(const uint64_t *)left, other = *(const uint64_t *)right;

	return one < other ? -1 : one > other;
}

static void print_samples(struct samples *samples)
{
	size_t count = samples->count;

	printf(", \"%s_count\": %zu", samples->name, count);
	if (!count)
		return;
	qsort(samples->values, count, sizeof *samples->values, by_size);
	printf(", \"%s_p50\": %.1f, \"%s_p99\": %.1f, \"%s_most\": %.1f", samples->name,
		(double)samples->values[count / 2] / 1e3, samples->name, (double)samples->values[count * 99 / 100] / 1e3,
		samples->name, (double)samples->values[count - 1] / 1e3);
}

static void print_result(uint64_t begun)
{
	struct rusage usage;
	double cpu, moved = 0;

	if (counts.last_answer > counts.first_offer)
		moved = (double)(counts.last_answer - counts.first_offer) / 1e9;

	getrusage(RUSAGE_SELF, &usage);
	cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
		+ (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	printf("{\"sessions\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"files\": %" PRIu64 ", \"octets\": %" PRIu64
		", \"seconds\": %.4f, \"transfer_seconds\": %.4f, \"resting\": %d, \"cpu\": %.3f",
		counts.ended, counts.failed, counts.files, counts.octets, (double)(now() - begun) / 1e9, moved, counts.resting, cpu);
	print_samples(&counts.setup);
	print_samples(&counts.start_answer);
	print_samples(&counts.end_answer);
	printf("}\n");
}

static void prepare_tls(void)
{
	context = SSL_CTX_new(TLS_client_method());
	if (!context)
		give_up("TLS");
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
		| SSL_MODE_RELEASE_BUFFERS);
	if (option.certificate && SSL_CTX_use_certificate_chain_file(context, option.certificate) != 1)
		give_up(option.certificate);
	if (option.key && SSL_CTX_use_PrivateKey_file(context, option.key, SSL_FILETYPE_PEM) != 1)
		give_up(option.key);
	if (option.authority) {
		if (SSL_CTX_load_verify_locations(context, option.authority, NULL) != 1)
			give_up(option.authority);
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	}
}

static void prepare_listening(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)option.port) };
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
	int on = 1;

	listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listening < 0 || inet_pton(AF_INET, option.host, &address.sin_addr) != 1)
		give_up("socket");
	setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 4096))
		give_up("listen");
	if (epoll_ctl(events, EPOLL_CTL_ADD, listening, &event))
		give_up("epoll_ctl");
}

/* Call a few at a time until all rest, say so, and look at standard input from then on. */
static void rest(void)
{
	static bool told;
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = &option };

	while (!told && counts.started < option.sessions
		&& counts.started - (uint64_t)counts.resting - counts.failed < (uint64_t)option.shaking)
		call();
	if (!told && (uint64_t)counts.resting + counts.failed >= option.sessions) {
		told = true;
		printf("resting %d\n", counts.resting);
		fflush(stdout);
		if (epoll_ctl(events, EPOLL_CTL_ADD, STDIN_FILENO, &event))
			stopped = 1;
	}
}

/* Take what is on standard input; false at its end. */
static bool heard_a_line(void)
{
	char line[16];

	return read(STDIN_FILENO, line, sizeof line) > 0;
}

/* Have all sessions that wait begin. */
static void release(void)
{
	uint64_t moment = now();

	while (waiting) {
		struct session *session = waiting;

		waiting = session->next;
		if (option.seconds > 0)
			session->deadline = moment + (uint64_t)(option.seconds * 1e9);
		go_on(session);
		if (speak(session))
			watch(session);
		else
			end(session, false);
	}
}

int main(int count, char **arguments)
{
	struct epoll_event happened[256];
	bool gathers;
	uint64_t begun;

	read_options(count, arguments);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	make_content();
	events = epoll_create1(EPOLL_CLOEXEC);
	if (option.station)
		prepare_listening();
	else if (!option.plain)
		prepare_tls();
	gathers = !option.station && (option.idle || option.together);
	begun = now();
	for (int index = 0; !option.station && !gathers && index < option.parallel; index++)
		call();
	while (!stopped) {
		int found;

		if (gathers)
			rest();
		else if (!option.station && !counts.open)
			break;
		found = epoll_wait(events, happened, 256, 200);
		for (int index = 0; index < found; index++) {
			if (!happened[index].data.ptr) {
				admit();
			} else if (happened[index].data.ptr == &option && option.together && heard_a_line()) {
				if (gathers) {
					gathers = false;
					begun = now();
					release();
				} else {
					printf("octets %" PRIu64 "\n", counts.confirmed);
					fflush(stdout);
				}
			} else if (happened[index].data.ptr == &option && option.together) {
				epoll_ctl(events, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
			} else if (happened[index].data.ptr == &option) {
				stopped = 1;
			} else {
				serve(happened[index].data.ptr, happened[index].events);
			}
		}
		if (option.seconds > 0 && now() - begun > (uint64_t)(option.seconds * 1e9))
			no_more = true;
	}
	if (!option.station)
		print_result(begun);
	return counts.failed ? 1 : 0;
}
