import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.jms.DeliveryMode;
import javax.jms.InvalidSelectorException;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;

/** Selectors: which messages an expression takes, with SQL's third value, unknown. */
final class Selectors extends JmsTest {
    /** What the messages of the tables below carry; the fifth has no property at all. */
    private static List<Message> messages(Session session) throws Exception {
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            messages.add(session.createTextMessage("" + i));
        }
        set(messages.get(0), "s", "apple", "i", 1, "b", true, "d", 1.5, "l", 5_000_000_000L);
        set(messages.get(1), "s", "banana", "i", 2, "b", false, "d", -2.0, "f", 0.5f, "y", (byte) 3);
        set(messages.get(2), "s", "a_c", "i", 3, "b", true, "h", (short) 4, "x$_1", 1);
        set(messages.get(3), "s", "a%c", "i", -1, "d", 1e10, "null", null, "number", "7");
        set(messages.get(4), "s", "", "i", 0, "b", true, "quote", "O'Hara \\ x", "NotX", 1);
        messages.get(0).setJMSType("fruit");
        messages.get(0).setJMSCorrelationID("c1");
        messages.get(1).setJMSType("Fruit");
        messages.get(1).setStringProperty("JMSXGroupID", "g");
        messages.get(2).setJMSCorrelationID("c2");
        messages.get(4).setJMSReplyTo(new org.apache.activemq.command.ActiveMQQueue("reply"));
        return messages;
    }

    private static void set(Message message, Object... pairs) throws Exception {
        for (int i = 0; i < pairs.length; i += 2) {
            message.setObjectProperty((String) pairs[i], pairs[i + 1]);
        }
    }

    @Test
    void comparisons_of_numbers() throws Exception {
        selects(table(
                "i = 1", "0", "i <> 1", "1234", "i > 1", "12", "i >= 1", "012", "i < 1", "34", "i <= 1", "034",
                "i = 1.0", "0", "d = 1.5", "0", "d > 1", "03", "d < -1.5", "1", "l > 4999999999", "0",
                "l = 5000000000", "0", "f = 0.5", "1", "y = 3", "1", "h = 4", "2", "d = 1e10", "3", "d = 1E10", "3",
                "d = 10000000000", "3", "i = +1", "0", "i = -1", "3", "1 = i", "0", "i = 0x2", "1", "i = 02", "1",
                "i = 1L", "0", "d > 1.4e0", "03", "number = 7", "", "number = '7'", "3", "i = '1'", ""));
    }

    @Test
    void comparisons_of_text_and_booleans() throws Exception {
        selects(table(
                "s = 'apple'", "0", "s <> 'apple'", "1234", "s = 'Apple'", "", "s = ''", "4",
                "'apple' = s", "0", "b = TRUE", "024", "b = true", "024", "b = FALSE", "1", "b <> TRUE", "1",
                "b", "024", "NOT b", "1", "b = 'true'", "", "quote = 'O''Hara \\ x'", "4", "s = s", "012345"));
    }

    @Test
    void arithmetic() throws Exception {
        selects(table(
                "i + 1 = 2", "0", "i - 1 = 0", "0", "i * 2 = 4", "1", "i / 2 = 1", "1", "i % 2 = 0", "14",
                "-i = 1", "3", "i + 2 * 3 = 7", "0", "(i + 2) * 3 = 9", "0", "d / 2 = 0.75", "0",
                "i + d > 2", "03", "2 - i = 1", "0", "i = 3 - 1", "1", "i / 0 = 1", ""));
    }

    @Test
    void logic_with_the_unknown() throws Exception {
        selects(table(
                "i = 1 OR i = 2", "01", "i > 0 AND b", "02", "NOT (i = 1)", "1234", "NOT i = 1", "",
                "missing = 1", "", "NOT (missing = 1)", "", "missing = 1 OR i = 1", "0",
                "missing = 1 AND i = 1", "", "NOT (missing = 1 AND i = 1)", "1234",
                "NOT (missing = 1 OR i = 1)", "", "missing <> 1", "", "missing = missing", "012345",
                "b OR i = 2", "0124", "b AND missing = 1", "", "i = 1 OR i = 2 AND b", "0",
                "(i = 1 OR i = 2) AND b", "0", "NOT b OR i = 1", "01", "NOT NOT b", "024",
                "TRUE", "012345", "FALSE", "", "TRUE AND b", "024"));
    }

    @Test
    void is_null_and_is_not_null() throws Exception {
        selects(table(
                "i IS NULL", "5", "i IS NOT NULL", "01234", "b IS NULL", "35", "missing IS NULL", "012345",
                "missing IS NOT NULL", "", "null IS NULL", "012345", "JMSType IS NULL", "2345",
                "JMSCorrelationID IS NOT NULL", "02", "JMSXGroupID IS NULL", "02345", "NOT (i IS NULL)", "01234",
                "JMSReplyTo IS NOT NULL", "4", "d is null", "245"));
    }

    @Test
    void between() throws Exception {
        selects(table(
                "i BETWEEN 1 AND 2", "01", "i NOT BETWEEN 1 AND 2", "234", "i BETWEEN 2 AND 1", "",
                "i between -1 and 0", "34", "missing BETWEEN 1 AND 2", "", "missing NOT BETWEEN 1 AND 2", "",
                "d BETWEEN 1 AND 2", "0", "i BETWEEN 1 AND 2 AND b", "0", "2 BETWEEN i AND 3", "0134"));
    }

    @Test
    void in() throws Exception {
        selects(table(
                "s IN ('apple', 'banana')", "01", "s NOT IN ('apple', 'banana')", "234", "s IN ('')", "4",
                "missing IN ('a')", "", "missing NOT IN ('a')", "", "JMSType IN ('fruit')", "0",
                "s in ('a_c','a%c')", "23", "NOT (s IN ('apple'))", "1234"));
    }

    @Test
    void like() throws Exception {
        selects(table(
                "s LIKE 'a%'", "023", "s LIKE '%a'", "1", "s LIKE '%an%'", "1", "s LIKE 'a_c'", "23",
                "s LIKE 'a\\_c' ESCAPE '\\'", "2", "s LIKE 'a\\%c' ESCAPE '\\'", "3", "s LIKE 'a!%c' ESCAPE '!'", "3",
                "s LIKE 'apple'", "0", "s LIKE 'APPLE'", "", "s LIKE '%'", "01234", "s LIKE ''", "4",
                "s LIKE '_____'", "0", "s NOT LIKE 'a%'", "14", "missing LIKE 'a%'", "", "missing NOT LIKE 'a%'", "",
                "s LIKE 'a.c'", "", "s LIKE '[a]%'", "", "quote LIKE 'O''H%'", "4", "i LIKE '1'", "",
                "s LIKE 'a' AND b", ""));
    }

    @Test
    void names_and_headers() throws Exception {
        selects(table(
                "JMSType = 'fruit'", "0", "JMSCorrelationID = 'c2'", "2", "JMSPriority = 4", "012345",
                "JMSPriority > 4", "", "JMSDeliveryMode = 'PERSISTENT'", "012345",
                "JMSDeliveryMode = 'NON_PERSISTENT'", "", "JMSDeliveryMode = 2", "", "JMSMessageID LIKE 'ID:%'", "012345",
                "JMSTimestamp > 0", "012345", "JMSRedelivered = FALSE", "012345", "JMSXGroupID = 'g'", "1",
                "JMSExpiration = 0", "012345", "JMSXDeliveryCount = 1", "012345", "JMSXGroupSeq = 0", "012345",
                "x$_1 = 1", "2", "NotX = 1", "4", "I = 1", "", "S = 'apple'", "",
                "JMSReplyTo = 'queue://reply'", "4", "JMSXUserID IS NULL", "012345",
                "JMSDestination LIKE 'topic://%'", "012345", "JMSXProducerTXID IS NULL", "012345"));
    }

    @Test
    void words_in_any_case_comments_and_white_space() throws Exception {
        selects(table(
                "i=1 or\ti=2", "01", "i=1\nOR i=2", "01", "not b", "1", "i Between 1 And 2", "01",
                "i /* in the middle */ = 1", "0", "i = 1 -- at the end\n", "0", "((i) = (1))", "0",
                "  i = 1  ", "0", "s Like 'b%'", "1", "b = True", "024"));
    }

    @Test
    void a_bad_selector_is_refused_with_its_text() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        for (String bad : List.of("foo = = 1", "foo =", "= 1", "foo = 'open", "(foo = 1", "foo = 1)", "foo LIKE 1",
                "foo IN ()", "foo IN (1, 2)", "foo BETWEEN 1", "foo IS", "foo = 1 AND", "NOT", "foo ! 1", "foo == 1",
                "foo LIKE 'a' ESCAPE 'bc'", "1 foo", "foo # 1", "'text'", "foo + 1", "foo LIKE", "\"foo\" = 1", "like = 1", "foo = 1 -- no line ends it")) {
            InvalidSelectorException refusal = refused(InvalidSelectorException.class, () ->
                    connection.syncSendPacket(RawCommands.consumerWithSelector(session, queue(), bad)));
            equal(bad, refusal.getMessage());
            try {
                connection.syncSendPacket(RawCommands.consumerWithSelector(session, topic(), bad));
                check(false, "a topic takes " + bad);
            } catch (JMSException other) {
                check(other.getMessage() != null, "no reason");
            }
        }
    }

    @Test
    void a_bad_selector_leaves_the_connection_usable() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        refused(InvalidSelectorException.class, () ->
                connection.syncSendPacket(RawCommands.consumerWithSelector(session, queue(), "foo = = 1")));
        send(session, queue(), "one");
        equal("one", takeText(session.createConsumer(queue())));
    }

    @Test
    void an_empty_selector_takes_everything() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(queue(), "");
        send(session, queue(), "one");
        equal("one", takeText(consumer));
    }

    @Test
    void a_consumer_of_a_queue_takes_what_it_selects_and_leaves_the_rest() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        for (Message message : messages(session)) {
            session.createProducer(queue()).send(message);
        }
        equal(List.of("1", "2"), takeAll(session.createConsumer(queue(), "i > 1")));
        equal(List.of("3"), takeAll(session.createConsumer(queue(), "i < 0")));
        connection.close();
        equal(List.of("0", "4", "5"), drain(queue()));
    }

    @Test
    void two_consumers_with_selectors_share_a_queue_by_them() throws Exception {
        Session session = auto(connect());
        MessageConsumer even = session.createConsumer(queue(), "i % 2 = 0");
        MessageConsumer odd = session.createConsumer(queue(), "i % 2 = 1");
        MessageProducer producer = session.createProducer(queue());
        for (int i = 0; i < 20; i++) {
            TextMessage message = session.createTextMessage("" + i);
            message.setIntProperty("i", i);
            producer.send(message);
        }
        for (int i = 0; i < 20; i += 2) {
            equal("" + i, takeText(even));
            equal("" + (i + 1), takeText(odd));
        }
    }

    @Test
    void a_selected_message_is_found_behind_many_others() throws Exception {
        Session session = auto(connect());
        sendNumbers(session, queue(), 500);
        TextMessage message = session.createTextMessage("found");
        message.setBooleanProperty("wanted", true);
        session.createProducer(queue()).send(message);
        equal("found", takeText(session.createConsumer(queue(), "wanted")));
    }

    @Test
    void the_delivery_mode_and_priority_of_the_send_are_what_is_selected() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(queue(),
                "JMSDeliveryMode = 'NON_PERSISTENT' AND JMSPriority > 6");
        MessageProducer producer = session.createProducer(queue());
        producer.send(session.createTextMessage("0"), DeliveryMode.PERSISTENT, 7, 0);
        producer.send(session.createTextMessage("1"), DeliveryMode.NON_PERSISTENT, 6, 0);
        producer.send(session.createTextMessage("2"), DeliveryMode.NON_PERSISTENT, 7, 0);
        equal("2", takeText(consumer));
        nothing(consumer);
    }

    /** Expressions and the numbers of the messages that they take. */
    private static Map<String, String> table(String... cells) {
        Map<String, String> table = new LinkedHashMap<>();
        for (int i = 0; i < cells.length; i += 2) {
            table.put(cells[i], cells[i + 1]);
        }
        return table;
    }

    /** Every expression listens to one topic; a last message that all take ends the reading. */
    private void selects(Map<String, String> table) throws Exception {
        Session session = auto(connect());
        Map<String, MessageConsumer> consumers = new LinkedHashMap<>();
        for (String expression : table.keySet()) {
            consumers.put(expression, session.createConsumer(topic(), "(" + expression + ") OR last"));
        }
        MessageProducer producer = session.createProducer(topic());
        for (Message message : messages(session)) {
            producer.send(message);
        }
        TextMessage last = session.createTextMessage("last");
        last.setBooleanProperty("last", true);
        producer.send(last);
        List<String> wrong = new ArrayList<>();
        for (Map.Entry<String, MessageConsumer> each : consumers.entrySet()) {
            StringBuilder taken = new StringBuilder();
            for (String text = takeText(each.getValue()); !text.equals("last"); text = takeText(each.getValue())) {
                taken.append(text);
            }
            String expected = table.get(each.getKey());
            if (!expected.contentEquals(taken)) {
                wrong.add("`" + each.getKey() + "`: expected [" + expected + "], got [" + taken + "]");
            }
        }
        check(wrong.isEmpty(), String.join("\n", wrong));
    }
}
