import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import java.util.function.BooleanSupplier;
import java.util.zip.CRC32;
import javax.jms.BytesMessage;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.Session;

/**
 * What clients sent, were answered, received and acknowledged while the broker came and went, and what
 * of that must not be. A place is a queue or a durable subscription; every message of a page has to come
 * to every place of the page.
 */
final class Ledger {
    /** So many violations of each invariant are told. */
    private static final int VIOLATIONS_MAX = 10;
    /** How many confirmed messages of a page may wait to be received before its sender waits. */
    private static final int PENDING_MAX = 1_000;
    private static final int BODY_BYTES_MAX = 2_000;
    /** One message in so many is large. */
    private static final int LARGE_EVERY = 500;
    private static final int LARGE_BYTES = 200_000;
    /** The incarnation of the broker that cannot be told. */
    static final int UNCLEAR = -1;

    // What is known of a send.
    private static final byte ASKED = 1;
    private static final byte ANSWERED = 2;
    private static final byte DROPPED = 3;
    // What is known of a message at a place.
    private static final byte RECEIVED = 1;
    private static final byte CONFIRMED = 2;

    private final Map<String, Page> pages = new LinkedHashMap<>();
    private final List<String> violations = new ArrayList<>();
    /** How often each invariant was violated. */
    private final Map<String, Integer> violated = new LinkedHashMap<>();
    private long answered;
    private long received;

    /** The messages of one sender, by their sequence. */
    private final class Page {
        final String sender;
        /** So many messages are one transaction. */
        final int batch;
        final Map<String, Place> places = new LinkedHashMap<>();
        byte[] sends = new byte[1024];
        int count;
        int pending;

        Page(String sender, int batch, List<String> names) {
            this.sender = sender;
            this.batch = batch;
            names.forEach(name -> places.put(name, new Place()));
        }

        boolean knows(int sequence) {
            return sequence >= 0 && sequence < count;
        }
    }

    /** What came to one place of one sender's messages. */
    private static final class Place {
        byte[] states = new byte[0];
        int[] incarnations = new int[0];
        /** Which broker confirmed the acknowledgement. */
        int[] confirmations = new int[0];
        int[] ids = new int[0];

        void reach(int length) {
            if (states.length < length) {
                states = Arrays.copyOf(states, length);
                incarnations = Arrays.copyOf(incarnations, length);
                confirmations = Arrays.copyOf(confirmations, length);
                ids = Arrays.copyOf(ids, length);
            }
        }

        boolean has(int sequence) {
            return sequence < states.length && states[sequence] != 0;
        }
    }

    /** One message that came to a consumer; a known one was sent to it, and the first one came never before. */
    record Receipt(String place, String sender, int sequence, boolean known, boolean first, boolean redelivered) { }

    // Sending.

    synchronized void open(String sender, int batch, List<String> places) {
        pages.put(sender, new Page(sender, batch, places));
    }

    /** The sequence of the next message, which the broker is now asked to take. */
    synchronized int ask(String sender) {
        Page page = pages.get(sender);
        if (page.count == page.sends.length) {
            page.sends = Arrays.copyOf(page.sends, 2 * page.count);
        }
        page.sends[page.count] = ASKED;
        return page.count++;
    }

    /** The broker has confirmed the last so many messages. */
    synchronized void answer(String sender, int last) {
        Page page = pages.get(sender);
        answered += last;
        for (int sequence = page.count - last; sequence < page.count; sequence++) {
            page.sends[sequence] = ANSWERED;
            for (Place place : page.places.values()) {
                page.pending += place.has(sequence) ? 0 : 1;
            }
        }
        notifyAll();
    }

    /** The sender has taken the last so many messages back. */
    synchronized void drop(String sender, int last) {
        Page page = pages.get(sender);
        Arrays.fill(page.sends, page.count - last, page.count, DROPPED);
    }

    /** Waits until the consumers have come nearer to the sender, or until it shall not go on. */
    synchronized void awaitRoom(String sender, BooleanSupplier goesOn) throws InterruptedException {
        Page page = pages.get(sender);
        while (page.pending > PENDING_MAX && goesOn.getAsBoolean()) {
            wait(10);
        }
    }

    synchronized long answered() {
        return answered;
    }

    synchronized long received() {
        return received;
    }

    /** Waits until more sends than these are answered. */
    synchronized boolean awaitAnswer(long before, long millis) throws InterruptedException {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis);
        while (answered <= before && System.nanoTime() < end) {
            wait(10);
        }
        return answered > before;
    }

    /** Waits until all confirmed messages have come to all their places; they have to in this time. */
    synchronized void awaitAll(long millis) throws InterruptedException {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis);
        while (pages.values().stream().anyMatch(page -> page.pending > 0) && System.nanoTime() < end) {
            wait(10);
        }
        eachMissing((sequence, place) -> violate("I8 did not come in " + millis + " ms: " + sequence + " at " + place));
    }

    /** All confirmed messages that have not come to a place. */
    private void eachMissing(BiConsumer<String, String> action) {
        for (Page page : pages.values()) {
            page.places.forEach((name, place) -> {
                for (int sequence = 0; sequence < page.count; sequence++) {
                    if (page.sends[sequence] == ANSWERED && !place.has(sequence)) {
                        action.accept(page.sender + "/" + sequence, name);
                    }
                }
            });
        }
    }

    // Messages that can be told from others and from damaged ones.

    static Message message(Session session, String sender, int sequence, Random random) throws JMSException {
        byte[] body = new byte[random.nextInt(LARGE_EVERY) == 0 ? LARGE_BYTES : random.nextInt(BODY_BYTES_MAX)];
        random.nextBytes(body);
        BytesMessage message = session.createBytesMessage();
        message.writeBytes(body);
        message.setStringProperty("sender", sender);
        message.setIntProperty("sequence", sequence);
        message.setLongProperty("crc", crc(body));
        message.setJMSCorrelationID(sender + "/" + sequence + "/" + body.length);
        return message;
    }

    private static long crc(byte[] body) {
        CRC32 crc = new CRC32();
        crc.update(body);
        return crc.getValue();
    }

    private static boolean isWhole(Message message) throws JMSException {
        BytesMessage bytes = (BytesMessage) message;
        byte[] body = new byte[(int) bytes.getBodyLength()];
        bytes.readBytes(body);
        bytes.reset();
        return crc(body) == message.getLongProperty("crc") && message.getJMSCorrelationID().equals(
                message.getStringProperty("sender") + "/" + message.getIntProperty("sequence") + "/" + body.length);
    }

    // Receiving.

    /**
     * A consumer got the message.
     *
     * @param clear whether it came from the broker that the consumer is connected to, beyond doubt
     * @param oldest the earliest incarnation of the broker that can have delivered it
     * @param newest the latest one
     */
    Receipt receive(String at, Message message, boolean clear, int oldest, int newest) throws JMSException {
        boolean whole = isWhole(message);
        String sender = message.getStringProperty("sender");
        int sequence = message.getIntProperty("sequence");
        boolean redelivered = message.getJMSRedelivered();
        synchronized (this) {
            String what = sender + "/" + sequence + " at " + at + " with " + Thread.currentThread().getName()
                    + " from broker " + oldest + " to " + newest + (clear ? "" : ", in doubt")
                    + (redelivered ? ", marked" : "");
            received++;
            if (!whole) {
                violate("I2 altered: " + what);
            }
            Page page = pages.get(sender);
            if (page == null || !page.knows(sequence) || !page.places.containsKey(at)) {
                violate("I3 never sent: " + what);
                return new Receipt(at, sender, sequence, false, false, redelivered);
            }
            if (page.sends[sequence] == DROPPED) {
                violate("I6 of a transaction that was rolled back: " + what);
            }
            Place place = page.places.get(at);
            place.reach(page.sends.length);
            boolean first = place.states[sequence] == 0;
            int id = message.getJMSMessageID().hashCode();
            if (first) {
                page.pending -= page.sends[sequence] == ANSWERED ? 1 : 0;
                notifyAll();
            } else {
                // A client may hand out late what an earlier broker sent, before another acknowledged it.
                boolean later = clear || place.confirmations[sequence] <= oldest;
                again(place, sequence, id, newest, redelivered, later, what);
            }
            place.states[sequence] = (byte) Math.max(place.states[sequence], RECEIVED);
            place.incarnations[sequence] = clear ? oldest : UNCLEAR;
            place.ids[sequence] = id;
            return new Receipt(at, sender, sequence, true, first, redelivered);
        }
    }

    private void again(Place place, int sequence, int id, int newest, boolean redelivered, boolean later,
            String what) {
        if (place.ids[sequence] != id) {
            violate("I4 came as two messages: " + what);
        } else if (place.states[sequence] == CONFIRMED && later) {
            violate("I10 came again after broker " + place.confirmations[sequence]
                    + " confirmed its acknowledgement: " + what);
        } else if (!redelivered && place.incarnations[sequence] == newest) {
            violate("I4 came twice from one broker without a mark: " + what);
        }
    }

    /** The broker has confirmed the acknowledgement. */
    synchronized void confirm(Receipt receipt, int broker) {
        if (receipt.known()) {
            Place place = pages.get(receipt.sender()).places.get(receipt.place());
            place.states[receipt.sequence()] = CONFIRMED;
            place.confirmations[receipt.sequence()] = broker;
        }
    }

    /** The consumer gave the message back; it may come again without a mark. */
    synchronized void giveBack(Receipt receipt) {
        if (receipt.known()) {
            pages.get(receipt.sender()).places.get(receipt.place()).incarnations[receipt.sequence()] = UNCLEAR;
        }
    }

    /** Notes what must not be; it begins with the name of the invariant. */
    synchronized void violate(String what) {
        if (violated.merge(what.split(" ")[0], 1, Integer::sum) <= VIOLATIONS_MAX) {
            violations.add(what);
        }
    }

    // The end.

    /** All that must not be, once nothing moves any more. */
    synchronized List<String> violations() {
        eachMissing((sequence, place) -> violate("I1 lost: " + sequence + " at " + place));
        for (Page page : pages.values()) {
            for (int from = 0; page.batch > 1 && from + page.batch <= page.count; from += page.batch) {
                whole(page, from);
            }
        }
        return List.copyOf(violations);
    }

    /** A transaction is at all its places with all its messages, or nowhere. */
    private void whole(Page page, int from) {
        long there = 0;
        for (Place place : page.places.values()) {
            for (int i = from; i < from + page.batch; i++) {
                there += place.has(i) ? 1 : 0;
            }
        }
        long all = (long) page.batch * page.places.size();
        if (there != 0 && there != all) {
            violate("I6 " + there + " of the " + all + " messages of one transaction: " + page.sender + "/" + from);
        }
    }
}
