import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import javax.jms.InvalidSelectorException;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTempQueue;
import org.apache.activemq.filter.BooleanExpression;
import org.apache.activemq.filter.MessageEvaluationContext;
import org.apache.activemq.filter.PropertyExpression;
import org.apache.activemq.selector.SelectorParser;

/**
 * Asks ActiveMQ's own selector parser what each expression makes of each message.
 *
 * Reads a table on standard input, whose first column is an expression, and writes it again with what
 * ActiveMQ says in the second: a letter a message, or `invalid` and the class of the cause.
 *
 *   T, F, U  true, false, unknown        E  fails with an exception
 *   N        does not match, though evaluating all of it would fail
 *
 * From the directory of the table:
 *   java -cp /usr/share/java/activemq-client.jar:/usr/share/java/geronimo-jms_1.1_spec.jar:\
 *   /usr/share/java/slf4j-api.jar:/usr/share/java/hawtbuf.jar \
 *   ../jms/tools/SelectorTable.java < activemq.tsv > new.tsv
 */
public class SelectorTable {
    private static final String[] HEADERS = {
        "JMSDestination", "JMSReplyTo", "JMSType", "JMSDeliveryMode", "JMSPriority", "JMSMessageID",
        "JMSTimestamp", "JMSCorrelationID", "JMSExpiration", "JMSRedelivered", "JMSXDeliveryCount",
        "JMSXGroupID", "JMSXUserID", "JMSXGroupSeq", "JMSXProducerTXID", "JMSActiveMQBrokerInTime",
        "JMSActiveMQBrokerOutTime", "JMSActiveMQBrokerPath", "JMSXGroupFirstForConsumer",
    };

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        Map<String, ActiveMQMessage> messages = messages();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        boolean listed = false;
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            if (line.startsWith("property\t")) {
                continue;
            }
            if (!line.isEmpty() && !line.startsWith("#")) {
                if (!listed) {
                    list(messages, out);
                    listed = true;
                }
                String expression = line.split("\t")[0];
                line = expression + "\t" + outcomes(unescape(expression), messages);
            }
            out.println(line);
        }
        out.flush();
    }

    private static Map<String, ActiveMQMessage> messages() throws Exception {
        Map<String, ActiveMQMessage> messages = new LinkedHashMap<>();

        ActiveMQMessage bare = new ActiveMQMessage();
        bare.setDestination(new ActiveMQQueue("BARE"));
        messages.put("bare", bare);

        ActiveMQMessage order = new ActiveMQMessage();
        order.setDestination(new ActiveMQQueue("ORDERS"));
        order.setReplyTo(new ActiveMQTempQueue("ID:host-1:1:1"));
        order.setPersistent(true);
        order.setPriority((byte) 7);
        order.setJMSMessageID("ID:host-1:1:2:3:4");
        order.setTimestamp(1700000000000L);
        order.setExpiration(1700000060000L);
        order.setCorrelationId("c-17");
        order.setType("order");
        order.setGroupID("g1");
        order.setGroupSequence(3);
        order.setUserID("ann");
        order.setRedeliveryCounter(2);
        order.setBrokerInTime(1700000000005L);
        order.setBrokerOutTime(1700000000006L);
        order.setStringProperty("color", "red");
        order.setStringProperty("name", "O'Brien");
        order.setStringProperty("code", "a_b%c\\d");
        order.setStringProperty("lines", "one\ntwo");
        order.setStringProperty("csv", "x,y,,z,,");
        order.setStringProperty("text", "\u00e9t\u00e9 \ud83d\ude00 \ufb01n");
        order.setIntProperty("size", 10);
        order.setDoubleProperty("price", 9.5);
        order.setBooleanProperty("paid", true);
        order.setBooleanProperty("late", false);
        order.setStringProperty("$_Odd1", "odd");
        messages.put("order", order);

        messages.put("five", typed((byte) 5, (short) 5, 5, 5L, 5f, 5d, "5", true));
        messages.put("low", typed(Byte.MIN_VALUE, Short.MIN_VALUE, Integer.MIN_VALUE, Long.MIN_VALUE,
                Float.NaN, -0.0, "", false));
        messages.put("high", typed(Byte.MAX_VALUE, Short.MAX_VALUE, Integer.MAX_VALUE, Long.MAX_VALUE,
                0.1f, Double.POSITIVE_INFINITY, "9223372036854775807", true));

        ActiveMQMessage mixed = new ActiveMQMessage();
        mixed.setDestination(new ActiveMQQueue("MIXED"));
        mixed.setStringProperty("b", "5");
        mixed.setStringProperty("sh", " 5");
        mixed.setStringProperty("i", "+5");
        mixed.setStringProperty("l", "5L");
        mixed.setStringProperty("f", "5.0");
        mixed.setStringProperty("d", " 5e0d ");
        mixed.setIntProperty("s", 5);
        mixed.setStringProperty("flag", "TRUE");
        mixed.setStringProperty("size", "big");
        mixed.setIntProperty("color", 3);
        mixed.setLongProperty("price", 9);
        mixed.setStringProperty("paid", "true");
        mixed.setFloatProperty("late", 1.5e10f);
        mixed.setObjectProperty("csv", List.of("x", "y"));
        mixed.setStringProperty("JMSXUserID", "property");
        mixed.setStringProperty("jmspriority", "lower");
        messages.put("mixed", mixed);
        return messages;
    }

    private static ActiveMQMessage typed(byte b, short sh, int i, long l, float f, double d, String s,
            boolean flag) throws Exception {
        ActiveMQMessage message = new ActiveMQMessage();
        message.setDestination(new ActiveMQQueue("TYPED"));
        message.setByteProperty("b", b);
        message.setShortProperty("sh", sh);
        message.setIntProperty("i", i);
        message.setLongProperty("l", l);
        message.setFloatProperty("f", f);
        message.setDoubleProperty("d", d);
        message.setStringProperty("s", s);
        message.setBooleanProperty("flag", flag);
        return message;
    }

    private static void list(Map<String, ActiveMQMessage> messages, PrintStream out) throws Exception {
        for (Map.Entry<String, ActiveMQMessage> entry : messages.entrySet()) {
            Set<String> names = new LinkedHashSet<>(List.of(HEADERS));
            names.addAll(new TreeSet<>(entry.getValue().getProperties().keySet()));
            for (String name : names) {
                Object value = new PropertyExpression(name).evaluate(entry.getValue());
                if (value != null) {
                    String type = value instanceof List ? "List" : value.getClass().getSimpleName();
                    String text = value instanceof List ? joined((List<?>) value) : value.toString();
                    out.println(String.join("\t", "property", entry.getKey(), name, type, escape(text)));
                }
            }
        }
        out.println();
    }

    private static String joined(List<?> texts) {
        return texts.stream().map(Object::toString).collect(Collectors.joining(","));
    }

    private static String outcomes(String expression, Map<String, ActiveMQMessage> messages) {
        BooleanExpression parsed;
        SelectorParser.clearCache();
        try {
            parsed = SelectorParser.parse(expression);
        } catch (InvalidSelectorException e) {
            return "invalid " + e.getCause().getClass().getName();
        }
        StringBuilder letters = new StringBuilder();
        for (ActiveMQMessage message : messages.values()) {
            letters.append(outcome(parsed, message));
        }
        return letters.toString();
    }

    private static char outcome(BooleanExpression parsed, ActiveMQMessage message) {
        MessageEvaluationContext context = new MessageEvaluationContext();
        context.setMessageReference(message);
        try {
            if (parsed.matches(context)) {
                return 'T';
            }
        } catch (Exception e) {
            return 'E';
        }
        try {
            Object value = parsed.evaluate(context);
            return value == null ? 'U' : (Boolean) value ? 'T' : 'F';
        } catch (Exception e) {
            return 'N';
        }
    }

    private static String escape(String text) {
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r");
    }

    private static String unescape(String text) {
        StringBuilder plain = new StringBuilder();
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '\\') {
                char escaped = text.charAt(++i);
                int known = "ntrf".indexOf(escaped);
                c = known < 0 ? escaped : "\n\t\r\f".charAt(known);
            }
            plain.append(c);
        }
        return plain.toString();
    }
}
