import java.io.Serializable;
import java.math.BigInteger;
import java.net.URL;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import javax.jms.BytesMessage;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageEOFException;
import javax.jms.ObjectMessage;
import javax.jms.Session;
import javax.jms.StreamMessage;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQSession;
import org.apache.activemq.BlobMessage;

/**
 * One body to send and what must be found in it at the other end.
 *
 * @param hasBody whether there is something to compress
 */
record Sample(String name, boolean hasBody, Maker maker, Verifier verifier) {
    interface Maker {
        Message make(Session session) throws Exception;
    }

    interface Verifier {
        void verify(Message message) throws Exception;
    }

    /** Text of all lengths of UTF-8, with what other encodings end at or escape. */
    static final String UNICODE = "a\u0000b \u007f\u0080\u07ff\u0800\uffff ß 水 \ud83d\ude80 \ud800 end\r\n";
    /** The same for maps and properties, whose strings the client reads as plain UTF-8: no NUL, no surrogates. */
    static final String PLAIN = "a b \u007f\u0080\u07ff\u0800\uffff ß 水 end\r\n";
    private static final int LARGE = 300_000;

    Message make(Session session) throws Exception {
        return maker.make(session);
    }

    void verify(Message message) throws Exception {
        try {
            verifier.verify(message);
        } catch (AssertionError | Exception e) {
            throw new AssertionError(name + ": " + e, e);
        }
    }

    /** What this version of OpenWire can carry: the first had no blobs. */
    static List<Sample> all(int version) {
        return all().stream().filter(sample -> version > 1 || !sample.name.equals("blob")).toList();
    }

    static List<Sample> all() {
        List<Sample> all = new ArrayList<>();
        all.add(new Sample("message without a body", false, Session::createMessage,
                message -> JmsTest.check(!(message instanceof TextMessage), "got " + message)));
        texts(all);
        bytes(all);
        maps(all);
        streams(all);
        objects(all);
        all.add(new Sample("blob", false,
                session -> ((ActiveMQSession) session).createBlobMessage(new URL("http://127.0.0.1/blob"), true),
                message -> {
                    JmsTest.equal("http://127.0.0.1/blob", ((BlobMessage) message).getURL().toString());
                }));
        return all;
    }

    private static void texts(List<Sample> all) {
        all.add(text("null text", null));
        all.add(text("empty text", ""));
        all.add(text("text", "hello"));
        all.add(text("text of all characters", UNICODE));
        all.add(text("large text", "x".repeat(LARGE) + UNICODE));
    }

    private static Sample text(String name, String text) {
        return new Sample(name, text != null, session -> session.createTextMessage(text),
                message -> JmsTest.equal(text, ((TextMessage) message).getText()));
    }

    private static void bytes(List<Sample> all) {
        all.add(bytes("no bytes", new byte[0]));
        all.add(bytes("one byte", new byte[] {-1}));
        byte[] random = new byte[LARGE];
        new Random(1).nextBytes(random);
        all.add(bytes("many bytes", random));
        all.add(bytes("many equal bytes", new byte[LARGE]));
        all.add(new Sample("bytes of every type", true, session -> {
            BytesMessage message = session.createBytesMessage();
            message.writeBoolean(true);
            message.writeByte((byte) -2);
            message.writeShort((short) -3);
            message.writeChar('\u6c34');
            message.writeInt(-4);
            message.writeLong(Long.MIN_VALUE);
            message.writeFloat(1.5f);
            message.writeDouble(-2.5);
            message.writeUTF(UNICODE);
            message.writeBytes(new byte[] {1, 2, 3, 4}, 1, 2);
            message.writeObject(7L);
            return message;
        }, sent -> {
            BytesMessage message = (BytesMessage) sent;
            JmsTest.equal(true, message.readBoolean());
            JmsTest.equal((byte) -2, message.readByte());
            JmsTest.equal((short) -3, message.readShort());
            JmsTest.equal('\u6c34', message.readChar());
            JmsTest.equal(-4, message.readInt());
            JmsTest.equal(Long.MIN_VALUE, message.readLong());
            JmsTest.equal(1.5f, message.readFloat());
            JmsTest.equal(-2.5, message.readDouble());
            JmsTest.equal(UNICODE, message.readUTF());
            byte[] two = new byte[2];
            JmsTest.equal(2, message.readBytes(two));
            JmsTest.equal(new byte[] {2, 3}, two);
            JmsTest.equal(7L, message.readLong());
            JmsTest.refused(MessageEOFException.class, message::readByte);
        }));
    }

    private static Sample bytes(String name, byte[] body) {
        return new Sample(name, body.length > 0, session -> {
            BytesMessage message = session.createBytesMessage();
            message.writeBytes(body);
            return message;
        }, sent -> {
            BytesMessage message = (BytesMessage) sent;
            JmsTest.equal((long) body.length, message.getBodyLength(), "length");
            byte[] got = new byte[body.length + 1];
            int count = message.readBytes(got);
            JmsTest.equal(body.length == 0 ? -1 : body.length, count, "read");
            JmsTest.check(Arrays.equals(body, Arrays.copyOf(got, body.length)), "other bytes");
        });
    }

    private static void maps(List<Sample> all) {
        all.add(new Sample("empty map", false, Session::createMapMessage,
                message -> JmsTest.check(!((MapMessage) message).getMapNames().hasMoreElements(), "not empty")));
        all.add(new Sample("map of every type", true, session -> {
            MapMessage message = session.createMapMessage();
            message.setBoolean("boolean", true);
            message.setByte("byte", (byte) -2);
            message.setShort("short", (short) -3);
            message.setChar("char", '\u6c34');
            message.setInt("int", -4);
            message.setLong("long", Long.MAX_VALUE);
            message.setFloat("float", Float.MIN_VALUE);
            message.setDouble("double", Double.NaN);
            message.setString("string", PLAIN);
            message.setString("large", "y".repeat(LARGE));
            message.setString(PLAIN, "name of all characters");
            message.setBytes("bytes", new byte[] {1, 2, 3});
            message.setBytes("no bytes", new byte[0]);
            message.setObject("null", null);
            message.setObject("list", List.of("one", 2, 3L, List.of(true)));
            message.setObject("map", Map.of("inner", 5));
            return message;
        }, sent -> {
            MapMessage message = (MapMessage) sent;
            JmsTest.equal(16, Collections.list(message.getMapNames()).size(), "entries");
            JmsTest.equal(true, message.getObject("boolean"));
            JmsTest.equal((byte) -2, message.getObject("byte"));
            JmsTest.equal((short) -3, message.getObject("short"));
            JmsTest.equal('\u6c34', message.getObject("char"));
            JmsTest.equal(-4, message.getObject("int"));
            JmsTest.equal(Long.MAX_VALUE, message.getObject("long"));
            JmsTest.equal(Float.MIN_VALUE, message.getObject("float"));
            JmsTest.equal(Double.NaN, message.getObject("double"));
            JmsTest.equal(PLAIN, message.getObject("string"));
            JmsTest.equal("y".repeat(LARGE), message.getString("large"));
            JmsTest.equal("name of all characters", message.getString(PLAIN));
            JmsTest.equal(new byte[] {1, 2, 3}, message.getBytes("bytes"));
            JmsTest.equal(new byte[0], message.getBytes("no bytes"));
            JmsTest.equal(null, message.getObject("null"));
            JmsTest.check(message.itemExists("null"), "the null entry is gone");
            JmsTest.equal(List.of("one", 2, 3L, List.of(true)), message.getObject("list"));
            JmsTest.equal(Map.of("inner", 5), message.getObject("map"));
        }));
    }

    private static void streams(List<Sample> all) {
        all.add(new Sample("empty stream", false, Session::createStreamMessage,
                message -> JmsTest.refused(MessageEOFException.class, ((StreamMessage) message)::readObject)));
        all.add(new Sample("stream of every type", true, session -> {
            StreamMessage message = session.createStreamMessage();
            message.writeBoolean(false);
            message.writeByte((byte) 2);
            message.writeShort((short) 3);
            message.writeChar('x');
            message.writeInt(4);
            message.writeLong(5);
            message.writeFloat(Float.NEGATIVE_INFINITY);
            message.writeDouble(Double.MAX_VALUE);
            message.writeString(UNICODE);
            message.writeString("z".repeat(LARGE));
            message.writeBytes(new byte[] {9, 8});
            message.writeObject(null);
            message.writeObject(11);
            return message;
        }, sent -> {
            StreamMessage message = (StreamMessage) sent;
            for (Object expected : new Object[] {false, (byte) 2, (short) 3, 'x', 4, 5L,
                    Float.NEGATIVE_INFINITY, Double.MAX_VALUE, UNICODE, "z".repeat(LARGE),
                    new byte[] {9, 8}, null, 11}) {
                JmsTest.equal(expected, message.readObject());
            }
            JmsTest.refused(MessageEOFException.class, message::readObject);
        }));
    }

    private static void objects(List<Sample> all) {
        all.add(object("null object", null));
        all.add(object("string object", UNICODE));
        all.add(object("number object", BigInteger.TWO.pow(400)));
        all.add(object("list object", new ArrayList<>(List.of("a", 1, 2.5))));
        all.add(object("large object", "o".repeat(LARGE)));
    }

    private static Sample object(String name, Serializable object) {
        return new Sample(name, object != null, session -> session.createObjectMessage(object),
                message -> JmsTest.equal(object, ((ObjectMessage) message).getObject()));
    }
}
